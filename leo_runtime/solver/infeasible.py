"""Why a problem that was proved infeasible is so: which rule, and the names that clash."""

from collections.abc import Iterable, Iterator

from leo_runtime.documents.problem import Question
from leo_runtime.solver.compiled import Compiled
from leo_runtime.solver.limits import Stop
from leo_runtime.solver.prove import prove
from leo_runtime.solver.unlinkable import unlinkable

NODES = 20_000
"""How many nodes all of the looking for a reason may take."""
NODES_EACH = 5_000
"""How long to look for an answer to a problem without one of its rules."""

UNKNOWN = "rules 4, 5 and 7 (links, memory, budgets, limits) cannot all be kept; which of them clash was not found out"


def reason(problem: Question, stop: Stop | None = None) -> str:
    """The first rule without which there would be an answer, with the names it is about; the problem is infeasible.

    Tried from the particular to the general: a stage that can run nowhere, a pair of stages without a link, then each
    memory cap, accuracy budget and limit on its own, then all of one kind together; what is left is the links, where
    the problem was proved to have no answer without all of those either. Otherwise (`NODES` or `stop` came first) it
    says no more than that the rules clash.
    """
    stop = Stop() if stop is None else stop
    for said in (*_nowhere(problem), *_unlinked(problem)):
        return said
    left = NODES
    # The last one relaxed is without all of those rules; with nothing to relax that is the problem itself.
    answerable: bool | None = False
    for said, relaxed in _without_one(problem):
        if stop.passed:
            return UNKNOWN
        answerable, nodes = _answerable(relaxed, min(left, NODES_EACH), stop)
        left -= nodes
        if answerable:
            return said
    if answerable is None:
        return UNKNOWN
    return unlinkable(problem) or "rule 4: no choice of places has a link from every input to its reader"


def _nowhere(problem: Question) -> Iterator[str]:
    """Rule 5: stages none of whose modes fits into memory alone."""
    caps = {resource.name: resource.memory_bytes for resource in problem.resources}
    for stage in problem.stages:
        for mode in stage.modes:
            cap = caps[mode.resource]
            if cap is None or mode.memory_bytes <= cap:
                break
        else:
            needs = min(mode.memory_bytes for mode in stage.modes)
            where = _named(mode.resource for mode in stage.modes)
            yield f"rule 5: `{stage.name}` alone needs at least {needs} bytes of memory, more than there is on {where}"


def _unlinked(problem: Question) -> Iterator[str]:
    """Rule 4: a reader none of whose places can be reached from any place of its input."""
    linked = {(link.source, link.target) for link in problem.links}
    places = {stage.name: [mode.resource for mode in stage.modes] for stage in problem.stages}
    for stage in problem.stages:
        for name in stage.inputs:
            if not any(a == b or (a, b) in linked for a in places[name] for b in places[stage.name]):
                yield (
                    f"rule 4: no link leads from where `{name}` can run ({_named(places[name])}) "
                    f"to where `{stage.name}` can ({_named(places[stage.name])})"
                )


def _without_one(problem: Question) -> Iterator[tuple[str, Question]]:
    """The problem without one rule at a time, then without all of a kind, and what to say if that has an answer."""
    for r, resource in enumerate(problem.resources):
        if resource.memory_bytes is not None:
            free = resource.model_copy(update={"memory_bytes": None})
            resources = (*problem.resources[:r], free, *problem.resources[r + 1 :])
            yield (
                f"rule 5: the {resource.memory_bytes} bytes of `{resource.name}` cannot hold what has to run there",
                problem.model_copy(update={"resources": resources}),
            )
    budgets = problem.accuracy_budgets
    for b, budget in enumerate(budgets):
        yield (
            f"rule 7: {_named(budget.stages)} cannot lose as little as {budget.loss_ppm_max} ppm together",
            problem.model_copy(update={"accuracy_budgets": (*budgets[:b], *budgets[b + 1 :])}),
        )
    for name, limit in problem.limits.items():
        others = {other: value for other, value in problem.limits.items() if other != name}
        yield f"rule 7: {name} cannot be as low as its limit of {limit}", problem.model_copy(update={"limits": others})
    unlimited = problem.model_copy(update={"limits": {}})
    if len(problem.limits) > 1:
        yield f"rule 7: the limits on {_named(problem.limits)} cannot hold together", unlimited
    unbound = unlimited.model_copy(update={"accuracy_budgets": ()})
    if problem.limits or budgets:
        yield "rule 7: the accuracy budgets and limits cannot hold together", unbound
    resources = tuple(resource.model_copy(update={"memory_bytes": None}) for resource in problem.resources)
    capped = [resource.name for resource in problem.resources if resource.memory_bytes is not None]
    if capped:
        yield (
            f"rule 5: the memory caps of {_named(capped)} cannot hold together",
            problem.model_copy(update={"resources": resources}),
        )
        yield (
            f"rules 5 and 7: the memory caps of {_named(capped)} clash with the accuracy budgets and limits",
            unbound.model_copy(update={"resources": resources}),
        )


def _answerable(problem: Question, limit_nodes: int, stop: Stop) -> tuple[bool | None, int]:
    """Whether there is an answer (None: neither found nor ruled out within the limits), and how many nodes it took."""
    kernel = Compiled(problem).kernel()
    stop.watch(kernel)
    kernel.climb(20 * len(problem.stages), 0)
    if kernel.found:
        return True, 0
    proved, nodes = prove(kernel, max(limit_nodes, 0))
    if kernel.found:
        return True, nodes
    return False if proved else None, nodes


def _named(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in dict.fromkeys(names))
