"""Groups of stages that go to another processor together.

Where a processor has links to few others, or where sending costs more than one stage saves, stages that move one at a
time never get there. A group goes all at once; where a link is missing then, what is next to the group goes along, to a
processor that has one.
"""

from collections.abc import Callable, Iterator, Sequence

from leo_runtime.solver.protocols import Ordered


class Groups:
    """How a problem's stages are connected and where each can run. A stage is its number, a resource its name.

    Nothing in it changes after it was made: it may be used from several threads.
    """

    def __init__(self, question: Ordered) -> None:
        """Look everything up once."""
        position = {name: i for i, name in enumerate(stage.name for stage in question.stages)}
        self.inputs = [[position[name] for name in stage.inputs] for stage in question.stages]
        self.readers: list[list[int]] = [[] for _ in position]
        """For each stage the stages that read its output."""
        for i, inputs in enumerate(self.inputs):
            for j in inputs:
                self.readers[j].append(i)
        self.neighbours = [inputs + readers for inputs, readers in zip(self.inputs, self.readers, strict=True)]
        """For each stage its inputs, then its readers."""
        self.places = [[mode.resource for mode in stage.modes] for stage in question.stages]
        """For each stage the resource of each of its modes."""
        self._there: list[dict[str, list[int]]] = []
        """For each stage and resource its modes there, if it has any."""
        for places in self.places:
            there: dict[str, list[int]] = {}
            for g, place in enumerate(places):
                there.setdefault(place, []).append(g)
            self._there.append(there)
        self._variants = [[mode.variant for mode in stage.modes] for stage in question.stages]
        self._links = {(link.source, link.target) for link in question.problem.links}
        resources = [resource.name for resource in question.problem.resources]
        self._links.update((name, name) for name in resources)
        used = {place for places in self.places for place in places}
        self.resources = [name for name in resources if name in used]
        """Those that stages can run on."""
        self._beside = {
            name: [k for k in self.resources if k != name and ((k, name) in self._links or (name, k) in self._links)]
            for name in self.resources
        }
        """For each resource the others that have a link to or from it."""
        self._central = {
            name for name in used if all((k, name) in self._links and (name, k) in self._links for k in used)
        }
        """The resources with links to and from all others: of what goes there none is missing."""

    def following(self, i: int) -> list[int]:
        """Stage i and all that depends on it, nearest first."""
        return _reached(i, self.readers.__getitem__)

    def together(self, i: int, modes: Sequence[int]) -> list[int]:
        """What is connected with stage i on the resource that these modes give it, itself included, nearest first."""
        here = self.places[i][modes[i]]
        return _reached(i, lambda j: [k for k in self.neighbours[j] if self.places[k][modes[k]] == here])

    def near(self, i: int, resource: str, most: int) -> list[int]:
        """At most so many stages that can run on a resource, connected with stage i by others, nearest first."""
        return _reached(i, lambda j: [k for k in self.neighbours[j] if resource in self._there[k]], most)

    def moved(self, modes: Sequence[int], group: Sequence[int], resource: str) -> Iterator[list[int]]:
        """These modes with all of a group on a resource that can run there, once for each way to mend missing links.

        Where none is missing there is one; else one at most for each resource that has a link to or from it.
        """
        changed = list(modes)
        here = [i for i in group if self._put(changed, i, resource)]
        if resource in self._central or not any(self._cut_off(changed, i) for i in here):
            yield changed
            return
        for other in self._beside[resource]:
            mended = list(changed)
            if self._mend(mended, here, other):
                yield mended

    def _mend(self, modes: list[int], group: Sequence[int], resource: str) -> bool:
        """Move what is cut off from a group to a resource, and what is cut off from that. False: some of it cannot."""
        went = list(group)
        known = set(group)
        for i in went:
            for j in self._cut_off(modes, i):
                if j in known or not self._put(modes, j, resource):
                    return False
                known.add(j)
                went.append(j)
        return True

    def _put(self, modes: list[int], i: int, resource: str) -> bool:
        """Give stage i a mode on a resource, of the same variant if there is one. False: it has none there."""
        there = self._there[i].get(resource)
        if there is None:
            return False
        if len(there) == 1:
            modes[i] = there[0]
        else:
            variants = self._variants[i]
            modes[i] = next((g for g in there if variants[g] == variants[modes[i]]), there[0])
        return True

    def _cut_off(self, modes: Sequence[int], i: int) -> list[int]:
        """The inputs and readers of stage i that lack a link to or from it."""
        here = self.places[i][modes[i]]
        inputs = [j for j in self.inputs[i] if (self.places[j][modes[j]], here) not in self._links]
        return inputs + [j for j in self.readers[i] if (here, self.places[j][modes[j]]) not in self._links]


def _reached(i: int, next_to: Callable[[int], list[int]], most: int | None = None) -> list[int]:
    """What is reached from i, i included, nearest first: all of it, or no more than so many."""
    found = [i]
    known = {i}
    for j in found:
        if most is not None and len(found) >= most:
            return found[:most]
        for k in next_to(j):
            if k not in known:
                known.add(k)
                found.append(k)
    return found
