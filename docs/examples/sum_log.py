"""What a run used energy for, from its log alone: by cause, by processor and by pipeline, in nJ.

python sum_log.py out/demo.virtual/log.jsonl
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def charged(line: dict[str, Any]) -> Iterator[tuple[str, str, list[str], int]]:
    """What a line of a log says was used: why, by what, for which pipelines, and how much."""
    for run in line.get("stages", ()):
        yield "failed run" if run["outcome"] == "failed" else "run", run["resource"], run["graphs"], run["nj"]
    for send in line.get("transfers", ()):
        link = f"{send['source']} -> {send['target']}"
        yield "transfer", send.get("resource", link), send["graphs"], send["nj"]
    for entry in line.get("entries", ()):
        yield entry["cause"], entry["resource"], entry["graphs"], entry["nj"]


causes: Counter[str] = Counter()
resources: Counter[str] = Counter()
pipelines: Counter[str] = Counter()
total = None
with Path(sys.argv[1]).open(encoding="utf-8") as log:
    for line in map(json.loads, log):
        for cause, resource, graphs, nj in charged(line):
            causes[cause] += nj
            resources[resource] += nj
            each, rest = divmod(nj, max(1, len(graphs)))
            for place, graph in enumerate(graphs or ["nobody"]):
                pipelines[graph] += each + (place < rest)
        if line["kind"] == "end":
            total = line["nj"]
for sums in (causes, resources, pipelines):
    print(", ".join(f"{name} {nj}" for name, nj in sums.most_common() if nj))
    assert total in (None, sums.total()), "they are the same energy"
print("in all", total)
