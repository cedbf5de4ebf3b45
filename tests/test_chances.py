"""How likely gates are to open, from what they did."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost_workloads import workload_of
from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.window import CERTAIN
from leo_runtime.documents.workload import Stream, Workload
from leo_runtime.errors import DocumentError
from leo_runtime.frame.chances import LEVELS_PPM, PRIOR_PPM, Chance, GateChances, GateHistories, level
from leo_runtime.frame.lower import merge


def listening(*, chance_ppm: int | None = None) -> Workload:
    """A gate that is computed, or one of stated chance."""
    builder = GraphBuilder("listen", period_us=1_000, deadline_us=800)
    if chance_ppm is None:
        builder.stage("sound", "window", stream="mic", samples=16)
        builder.stage("gate", "energy_gate", "sound", threshold_dbfs=-40.0)
    else:
        builder.stage("gate", "cost", output_bytes=1, chance_ppm=chance_ppm)
    builder.stage("model", "cost", gate="gate", output_bytes=1)
    streams = (Stream(name="mic", kind="audio", rate_hz=16_000),)
    return workload_of(builder.build()).model_copy(update={"streams": streams})


def learning(known: GateHistories | None = None) -> GateChances:
    return GateChances(merge(listening()), known)


def chance(chances: GateChances) -> Chance:
    ((name, found),) = chances.chances()
    assert name == "gate"
    return found


def watched(*opened: bool, known: GateHistories | None = None) -> GateChances:
    chances = learning(known)
    for did_open in opened:
        chances.observe({"gate": did_open})
    return chances


def test_of_what_nothing_is_known_the_prior_is_expected() -> None:
    assert chance(learning()) == Chance(PRIOR_PPM, PRIOR_PPM, PRIOR_PPM)
    assert 0 < PRIOR_PPM < CERTAIN


def test_a_stated_chance_is_taken_as_it_is() -> None:
    chances = GateChances(merge(listening(chance_ppm=123_457)))
    chances.observe({"gate": True})
    assert chance(chances) == Chance(123_457, 123_457, 123_457)
    assert not chances.gates


def test_openings_follow_openings() -> None:
    speech = [False] * 40 + [True] * 40
    silent = watched(*speech * 3, *[False] * 20)
    found = chance(silent)
    assert found.after_open_ppm == 937_500 and found.after_closed_ppm <= 62_500
    assert found.next_ppm == found.after_closed_ppm
    silent.observe({"gate": True})
    assert chance(silent).next_ppm == chance(silent).after_open_ppm


def test_a_gate_that_opens_once_in_eight_is_known_after_a_few_dozen_frames() -> None:
    found = chance(watched(*(k % 8 == 0 for k in range(48))))
    assert found.after_closed_ppm <= 187_500 and found.after_open_ppm <= 250_000


def test_a_gate_that_never_opens_is_never_given_up() -> None:
    assert chance(watched(*[False] * 1_000)).next_ppm == LEVELS_PPM[0] > 0
    assert chance(watched(*[True] * 1_000)).next_ppm == LEVELS_PPM[-1] < CERTAIN


def test_estimates_move_seldom() -> None:
    """A steady gate asks few questions: one for each level that its estimates come by, in each state."""
    rng = Random(3)
    chances = learning()
    seen = set()
    for _ in range(2_000):
        chances.observe({"gate": rng.random() < 0.3})
        seen.add(chance(chances))
    assert len(seen) < 40


def test_what_was_long_ago_is_forgotten() -> None:
    assert chance(watched(*[True] * 5_000, *[False] * 400)).after_closed_ppm <= 62_500


def test_gates_that_are_not_the_workloads_are_ignored() -> None:
    chances = learning()
    chances.observe({"other": True})
    assert chance(chances).next_ppm == PRIOR_PPM


def test_a_release_in_which_a_gate_did_not_run_says_nothing_of_it() -> None:
    chances = watched(True)
    chances.observe({})
    assert chances.kept() == watched(True).kept()


def test_what_was_learned_is_kept_and_read_again(tmp_path: Path) -> None:
    first = watched(*[False] * 100, True)
    first.kept().to_file(tmp_path / "gates.json")
    again = learning(GateHistories.from_file(tmp_path / "gates.json"))
    assert again.kept() == first.kept()
    assert chance(again).after_closed_ppm == chance(first).after_closed_ppm
    # What it did last is not known any more: the likelier of both is expected.
    assert chance(again).next_ppm == max(chance(first).after_closed_ppm, chance(first).after_open_ppm)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_damaged_histories_are_refused_in_one_line(damaged: bytes) -> None:
    with pytest.raises(DocumentError):
        GateHistories.from_json(damaged)


@pytest.mark.parametrize(
    "count", ['{"runs": -1}', '{"runs": 256}', '{"runs": 1, "opened": 2}', '{"level_ppm": 1000001}', "[]"]
)
def test_counts_that_cannot_be_are_refused_with_their_place(count: str) -> None:
    text = f'{{"format": "leo-gates/1", "workload": "w", "gates": [{{"name": "gate", "after_open": {count}}}]}}'
    with pytest.raises(DocumentError, match=r"\$\.gates\[0\]\.after_open"):
        GateHistories.from_json(text)


def test_a_gate_given_twice_is_refused() -> None:
    text = '{"format": "leo-gates/1", "workload": "w", "gates": [{"name": "gate"}, {"name": "gate"}]}'
    with pytest.raises(DocumentError, match="given twice"):
        GateHistories.from_json(text)


@given(st.integers(0, CERTAIN))
def test_levels_are_no_lower_but_for_the_greatest(ppm: int) -> None:
    assert level(ppm) >= min(ppm, LEVELS_PPM[-1])


@given(st.integers(0, CERTAIN), st.integers(0, CERTAIN), st.integers(0, CERTAIN))
def test_a_later_release_is_between_both_states(open_ppm: int, after_open: int, after_closed: int) -> None:
    found = Chance(0, after_open, after_closed).following(open_ppm)
    assert min(after_open, after_closed) <= found <= max(after_open, after_closed)
