"""Published instances whose optimum is known."""

from itertools import permutations
from pathlib import Path

import pytest

from leo_runtime.documents.problem import Link, Mode, Problem, Resource, StageModes
from leo_runtime.judge import check
from leo_runtime.solver import solve
from leo_runtime.solver.compiled import COMPILED

# HaX-CoNN (PPoPP 2024): GoogLeNet and AlexNet in groups of layers on a Xavier's GPU and DLA, in units of 10 us. The
# third row is what changing the processor before a group costs (its authors call these placeholders).
GOOGLENET = (
    (35, 15, 20, 11, 12, 13, 15, 19, 12, 20),
    (75, 34, 45, 37, 31, 33, 31, 35, 27, 36),
    (5, 7, 6, 1, 5, 2, 6, 3, 2),
)
ALEXNET = ((15, 6, 22, 8, 16, 70, 32, 10), (41, 20, 45, 22, 41, 191, 68, 13), (3, 11, 8, 3, 9, 8, 7))


def hax_conn(*, transitions: bool) -> Problem:
    """Two chains, one lane each; a changed processor delays the next group by its cost: a byte takes 1 us to send."""
    stages = []
    for name, (gpu, dla, change) in (("googlenet", GOOGLENET), ("alexnet", ALEXNET)):
        for group, (gpu_10us, dla_10us) in enumerate(zip(gpu, dla, strict=True)):
            output_bytes = 10 * change[group] if transitions and group < len(change) else 0
            modes = tuple(
                Mode(resource=resource, duration_us=10 * duration, energy_nj=0, output_bytes=output_bytes)
                for resource, duration in (("gpu", gpu_10us), ("dla", dla_10us))
            )
            inputs = (f"{name}{group - 1}",) if group else ()
            stages.append(StageModes(name=f"{name}{group}", inputs=inputs, modes=modes))
    links = tuple(Link(source=s, target=t, bytes_per_s=1_000_000) for s, t in (("gpu", "dla"), ("dla", "gpu")))
    return Problem(
        format="leo-problem/1",
        name="hax-conn",
        resources=(Resource(name="gpu"), Resource(name="dla")),
        links=links,
        stages=tuple(stages),
        objective=("makespan",),
    )


@pytest.mark.parametrize(("transitions", "makespan_us"), [(True, 2500), (False, 2420)])
def test_layers_of_two_networks_on_gpu_and_dla(transitions: bool, makespan_us: int) -> None:
    problem = hax_conn(transitions=transitions)
    answer = solve(problem, "exact")
    assert answer.status == "optimal"
    assert answer.criteria is not None
    assert answer.criteria.makespan == makespan_us
    assert check(problem, answer).ok


def test_the_gpu_alone_takes_as_long_as_published() -> None:
    problem = hax_conn(transitions=True)
    on_gpu = tuple(s.model_copy(update={"modes": s.modes[:1]}) for s in problem.stages)
    answer = solve(problem.model_copy(update={"stages": on_gpu}), "exact")
    assert answer.criteria is not None
    assert answer.criteria.makespan == 3510


# Job shops, each stage on one machine or on one of several. Fisher and Thompson 1963 (ft), Lawrence 1984 (la), Adams,
# Balas and Zawack 1988 (abz), Kacem, Hammadi and Borne 2002, Brandimarte 1993 (mk).
JOB_SHOPS = {"ft06": 55, "la01": 666, "la02": 655, "kacem-k1": 11, "mk01": 40, "mk03": 204, "mk04": 60, "abz5": 1234}
SLOW = ("abz5",)
"""Compiled a quarter of a second, interpreted half a minute."""


def job_shop(name: str, jobs: list[list[list[tuple[int, int]]]], machines: int) -> Problem:
    """Each job's stages one after the other, each with the machines (from 0) and times it may take."""
    resources = [f"m{k}" for k in range(machines)]
    stages = [
        StageModes(
            name=f"j{j}.{o}",
            inputs=(f"j{j}.{o - 1}",) if o else (),
            modes=tuple(Mode(resource=resources[m], duration_us=time, energy_nj=0) for m, time in choices),
        )
        for j, job in enumerate(jobs)
        for o, choices in enumerate(job)
    ]
    return Problem(
        format="leo-problem/1",
        name=name,
        resources=tuple(Resource(name=resource) for resource in resources),
        links=tuple(Link(source=a, target=b) for a, b in permutations(resources, 2)),
        stages=tuple(stages),
        objective=("makespan",),
    )


def from_fjs(path: Path) -> Problem:
    """The usual text: jobs and machines; a line a job: how many stages, and of each how many machine-time pairs."""
    first, *lines = path.read_text().splitlines()
    jobs = []
    for line in lines:
        numbers = iter(map(int, line.split()))
        jobs.append([[(next(numbers) - 1, next(numbers)) for _ in range(next(numbers))] for _ in range(next(numbers))])
    return job_shop(path.stem, jobs, int(first.split()[1]))


@pytest.mark.parametrize("name", JOB_SHOPS)
def test_job_shops(name: str) -> None:
    if name in SLOW and not COMPILED:
        pytest.skip("takes half a minute interpreted")
    problem = from_fjs(Path(__file__).parent / "job_shops" / f"{name}.fjs")
    answer = solve(problem, "exact")
    assert (answer.status, answer.bounds) == ("optimal", (JOB_SHOPS[name],))
    assert check(problem, answer).ok


def test_sixteen_equal_machines() -> None:
    """Thirteen jobs in equal parts, the longest 100: any machine does as well as any other."""
    parts = [(34, 1), (25, 4), (24, 4), *3 * [(8, 6)], *3 * [(13, 5)], *2 * [(7, 8)], *2 * [(40, 2)]]
    jobs = [[[(m, time) for m in range(16)] for _ in range(count)] for time, count in parts]
    problem = job_shop("sym16", jobs, 16)
    answer = solve(problem, "exact")
    assert (answer.status, answer.bounds) == ("optimal", (100,))
    assert check(problem, answer).ok


# The example graphs of HEFT (Topcuoglu, Hariri and Wu, 2002) and of PEFT (Arabnejad and Barbosa, 2014): what ten tasks
# take on each of three processors, and what each edge takes between two.
EDGES = ((0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 7), (1, 8), (2, 6), (3, 7), (3, 8), (4, 8), (5, 7), (6, 9), (7, 9))
EDGES += ((8, 9),)
HEFT = (
    (14, 13, 11, 13, 12, 13, 7, 5, 18, 21),
    (16, 19, 13, 8, 13, 16, 15, 11, 12, 7),
    (9, 18, 19, 17, 10, 9, 11, 14, 20, 16),
    (18, 12, 9, 11, 14, 19, 16, 23, 27, 23, 13, 15, 17, 11, 13),
)
PEFT = (
    (22, 22, 32, 7, 29, 26, 14, 29, 15, 13),
    (21, 18, 27, 10, 27, 17, 25, 23, 21, 16),
    (36, 18, 43, 4, 35, 24, 30, 36, 8, 33),
    (17, 31, 29, 13, 7, 3, 30, 16, 11, 7, 57, 5, 9, 42, 7),
)


def with_edges(name: str, rows: tuple[tuple[int, ...], ...]) -> Problem:
    """In thousands of microseconds. A stage has one output of one size, so an edge of its own size is a stage as well:

    one of 1 us that runs beside its processor, once its producer has ended there, and has the edge's bytes to send.
    """
    *tasks, sizes = rows
    names = [f"p{k}" for k in range(len(tasks))]
    stages = []
    for i in range(len(tasks[0])):
        inputs = tuple(f"e{a}-{b}" for a, b in EDGES if b == i)
        modes = tuple(
            Mode(resource=p, duration_us=1000 * row[i], energy_nj=0) for p, row in zip(names, tasks, strict=True)
        )
        stages.append(StageModes(name=f"t{i}", inputs=inputs, modes=modes))
    for (a, b), size in zip(EDGES, sizes, strict=True):
        edge = tuple(Mode(resource=f"{p}.out", duration_us=1, energy_nj=0, output_bytes=1000 * size) for p in names)
        stages.append(StageModes(name=f"e{a}-{b}", inputs=(f"t{a}",), modes=edge))
    links = [Link(source=s, target=t) for p in names for s, t in ((p, f"{p}.out"), (f"{p}.out", p))]
    links += [Link(source=f"{p}.out", target=q, bytes_per_s=1_000_000) for p, q in permutations(names, 2)]
    return Problem(
        format="leo-problem/1",
        name=name,
        resources=(*[Resource(name=p) for p in names], *[Resource(name=f"{p}.out", lanes=20) for p in names]),
        links=tuple(links),
        stages=tuple(stages),
        objective=("makespan",),
    )


@pytest.mark.parametrize(("rows", "heft", "optimum"), [(HEFT, 80, 73), (PEFT, 133, 113)], ids=["heft", "peft"])
def test_the_examples_of_heft_and_peft(rows: tuple[tuple[int, ...], ...], heft: int, optimum: int) -> None:
    """Three edges follow each other on the longest path, each 1 us more than published."""
    problem = with_edges("example", rows)
    for solver, makespan in (("heft", heft), ("exact", optimum)):
        answer = solve(problem, solver)
        assert answer.criteria is not None
        assert answer.criteria.makespan == 1000 * makespan + 3
        assert check(problem, answer).ok
    assert answer.status == "optimal"
