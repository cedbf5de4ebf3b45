"""Published instances whose optimum is known."""

import pytest

from leo_runtime.judge import check
from leo_runtime.problem import Link, Mode, Problem, Resource, StageModes
from leo_runtime.solver import solve

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
