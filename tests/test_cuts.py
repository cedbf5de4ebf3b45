"""Where a network is cut between a device and a server: `exact` against DADS's min-cut, and every cut tried.

`cut_graphs.py` says what DADS counts, and how that is a question of ours: energy at a milliwatt is the sum of times,
since makespan is no sum where layers do not follow each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest

from cut_graphs import RATES, Network, least_us, min_cut_us, network_of, problem_of, random_network
from leo_runtime import demo
from leo_runtime.documents.problem import Placement, Problem
from leo_runtime.importers.model_file import open_model
from leo_runtime.judge import check
from leo_runtime.solver import solve

GRAPHS = 300


def proved(problem: Problem) -> Placement:
    """The best answer, which the rules allow."""
    answer = solve(problem)
    assert answer.status == "optimal" and check(problem, answer).ok
    return answer


def least(problem: Problem) -> int:
    """What the best answer comes to in what is minimised."""
    criteria = proved(problem).criteria
    assert criteria is not None
    return int(getattr(criteria, problem.objective[0]))


def networks(count: int, most: int, **drawn: object) -> list[Network]:
    rng = Random(f"{count}/{most}/{drawn}")
    return [random_network(rng, rng.randint(2, most), **drawn) for _ in range(count)]  # type: ignore[arg-type]  # any of its own


def test_the_exact_cut_is_dads_min_cut_and_the_best_of_every_cut() -> None:
    parts: Counter[str] = Counter()
    for network in networks(GRAPHS, 9):
        assert least(problem_of(network)) == min_cut_us(network) == least_us(network)
        there = [*cut_alone(network).values()].count("server")
        parts["none" if not there else "all" if there == len(network.layers) - 1 else "some"] += 1
    assert min(parts[part] for part in ("none", "some", "all")) > 20, parts


def test_it_is_the_min_cut_of_graphs_that_are_too_large_to_try_every_cut() -> None:
    rng = Random(60)
    for network in (random_network(rng, 60) for _ in range(20)):
        assert least(problem_of(network)) == min_cut_us(network)


@pytest.mark.parametrize("model", ["face_landmark", "face_detection_short_range", "iris_landmark"])
def test_it_is_the_min_cut_of_a_models_own_graph_of_layers(model: str) -> None:
    graph = open_model(Path(demo.__file__).parent / "models" / f"{model}.tflite").graph
    assert graph is not None and len(graph.layers) >= 90
    for bytes_per_s in RATES[1::2]:
        for network in (network_of(graph, bytes_per_s), network_of(graph, bytes_per_s, smaller=16)):
            assert least(problem_of(network)) == min_cut_us(network)


def test_it_is_the_min_cut_as_dads_draws_it_where_outputs_come_back_for_nothing() -> None:
    cheaper = 0
    for network in networks(GRAPHS, 9):
        free = min_cut_us(network, comes_back=True)
        assert least(problem_of(network, comes_back=True)) == free
        cheaper += free < min_cut_us(network)
    assert cheaper > 5, "where some layers are slower on the server it matters"


def test_of_a_chain_makespan_is_what_is_minimised_and_the_cut_is_neurosurgeons() -> None:
    """Neurosurgeon (ASPLOS 2017) tries every place to cut a chain."""
    for network in networks(100, 12, chain=True):
        layers = network.layers
        swept = [sum(one.device_us for one in layers)] + [
            sum(one.device_us for one in layers[:cut])
            + network.sending_us(layers[cut - 1].forms[0])
            + sum(one.server_us for one in layers[cut:])
            for cut in range(1, len(layers))
        ]
        assert least(problem_of(network, "makespan")) == min(swept) == min_cut_us(network)


def test_where_device_link_and_server_work_at_once_a_frame_ends_no_later_than_by_the_min_cut() -> None:
    earlier = 0
    for network in networks(60, 8):
        makespan, cut_us = least(problem_of(network, "makespan")), min_cut_us(network)
        assert makespan <= cut_us
        earlier += makespan < cut_us
    assert earlier > 10


def test_without_a_budget_each_output_is_packed_as_it_takes_least_so_the_min_cut_has_the_bits_too() -> None:
    for network in networks(60, 7, forms=4):
        assert least(problem_of(network, packs=True)) - len(network.layers) == min_cut_us(network) == least_us(network)


@pytest.mark.parametrize("loss_ppm_max", [0, 5_000, 20_000])
def test_cut_and_bits_chosen_together_are_never_worse_than_either_alone(loss_ppm_max: int) -> None:
    better = {"cut": 0, "bits": 0, "cut first, then bits": 0}
    for network in networks(60, 6, forms=4):
        packing_us = len(network.layers)  # A stage that packs nothing takes a microsecond, too.
        problem = problem_of(network, packs=True, loss_ppm_max=loss_ppm_max)
        together = least(problem) - packing_us
        assert together == least_us(network, loss_ppm_max)
        alone = {
            "cut": min_cut_us(network.as_it_is()),
            "bits": least(placed(problem, all_on_the_server(network))) - packing_us,
            "cut first, then bits": least(placed(problem, cut_alone(network))) - packing_us,
        }
        for way, took in alone.items():
            assert together <= took
            better[way] += together < took
    assert all(better.values()) == (loss_ppm_max > 0), better


def placed(problem: Problem, where: Mapping[str, str]) -> Problem:
    """With every layer on one processor, and its packing behind it: only bits are left to choose."""
    stages = [
        stage.model_copy(
            update={"modes": tuple(mode for mode in stage.modes if mode.resource == where[stage.name.split()[0]])}
        )
        for stage in problem.stages
    ]
    return problem.model_copy(update={"stages": tuple(stages)})


def all_on_the_server(network: Network) -> dict[str, str]:
    return {str(number): "server" if number else "device" for number in range(len(network.layers))}


def cut_alone(network: Network) -> dict[str, str]:
    """Where each layer is in the best cut of what is sent as it is."""
    return {run.stage: run.resource for run in proved(problem_of(network.as_it_is())).stages}
