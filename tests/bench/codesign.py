"""What a search of the codesign study finds, against all of its grid.

    python tests/bench/codesign.py    # runs the grid into out/, or what of it is missing: minutes; then seconds

For each part of the grid and each of five seeds: how many points of the front the search finds, and how much of its
hypervolume, beside as many points drawn at random. Then how much of the front stays where area is another one.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parent.parent))

from hypervolume import hypervolume
from leo_runtime.report.layout import table
from leo_runtime.study import running
from leo_runtime.study.document import Derived, Study
from leo_runtime.study.fronts import Judged, judged, on_front
from leo_runtime.study.rows import whole_row
from leo_runtime.study.search import searched
from leo_runtime.study.shipped_studies import study_file
from leo_runtime.study.store import Store, kept_in

SEEDS = range(5)
PARTS = (20, 10, 5)
AREAS = {
    "logic twice as large": ("units", 2.0),
    "memory twice as large": ("memory", 2.0),
    "memory half as large": ("memory", 0.5),
}


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"))
    file = study_file("codesign")
    study = Study.from_file(file)
    assert study.search is not None
    planned = running.plan(study, file.parent)
    with Store(kept_in(parser.parse_args().out, study.name)) as store:
        running.run(planned, store, running.runner())
        rows = running.rows(planned, store)
    every = {one.point: one for one in judged(study, study.search, rows)}
    best = on_front(list(every.values()))
    allowed = [one.costs for one in every.values() if one.is_allowed]
    print(f"{len(every)} points, {len(allowed)} of them within bounds, {len(best)} on the front")
    low, high = [min(one) for one in zip(*allowed, strict=True)], [max(one) for one in zip(*allowed, strict=True)]

    def volume(found: Sequence[Judged]) -> float:
        """Of a front: objectives are from 0, the least of all, to 1, and up to 1.01 counts."""
        ends = list(zip(low, high, strict=True))
        costs = [[(c - a) / (b - a) for c, (a, b) in zip(one.costs, ends, strict=True)] for one in on_front(found)]
        return hypervolume(costs, [1.01] * len(low))

    told = []
    for part in PARTS:
        budget = study.points // part
        of: dict[str, list[tuple[int, float]]] = {"NSGA-II": [], "at random": []}
        for seed in SEEDS:
            asked = study.search.model_copy(update={"seed": seed, "budget": budget})
            drawn = Random(seed).sample(range(study.points), budget)
            for name, found in (
                (
                    "NSGA-II",
                    searched(study, asked, lambda points: [every[point] for point in points if point in every]),
                ),
                ("at random", [every[point] for point in drawn if point in every]),
            ):
                hit = len({one.point for one in on_front(found)} & {one.point for one in best})
                of[name].append((hit, 100 * volume(found) / volume(best)))
        for name, results in of.items():
            hits, volumes = [hit for hit, _ in results], [one for _, one in results]
            told.append(
                (f"1/{part}", name, f"{min(hits)} to {max(hits)}", f"{min(volumes):.1f} to {max(volumes):.1f} %")
            )
    print(table(("of the grid", "asked by", "of the front", "hypervolume"), told))
    for name, (number, times) in AREAS.items():
        other = with_area(study, number, times)
        whole = [whole_row(other, planned.cells[row["cell"]], row["inputs"], row) for row in rows]
        stays = {one.point for one in on_front(judged(other, study.search, whole))} & {one.point for one in best}
        print(f"{name}: {len(stays)} of the front stay on it")
    return 0


def with_area(study: Study, number: str, times: float) -> Study:
    """The study with the terms of its area that are of that number so many times as large."""

    def derived(one: Derived) -> Derived:
        terms = [
            term.model_copy(update={"times": term.times * times}) if number in term.of else term for term in one.sum
        ]
        return one.model_copy(update={"sum": tuple(terms)})

    return study.model_copy(update={"derived": tuple(map(derived, study.derived))})


if __name__ == "__main__":
    sys.exit(main())
