"""int8 layers as programs of the Hexagon instruction set: the same bits, and packets foretold. Run by hand.

python tests/bench/hexagon_layers.py exactness --cases 200    random layers of every kind, against the reference
python tests/bench/hexagon_layers.py fit [--write]            fit the cycle model to half of the layers
python tests/bench/hexagon_layers.py fit --only CONV_2D ...   of these kinds alone, and leave the others as they are
python tests/bench/hexagon_layers.py models MODEL ...         whole models, which no fit has seen
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from bench.hexagon import _fit as fitted_costs
from int8_layers import KINDS
from layer_graphs import some_values
from leo_backends.dsp import layers
from leo_backends.dsp.cycles import Loops, packets
from leo_backends.dsp.hexagon import HexagonMachine
from leo_backends.dsp.hexagon import layers as programs
from leo_backends.dsp.hexagon.toolchain import TARGETS
from leo_runtime.importers.tflite import parse_tflite
from leo_runtime.importers.tflite_layers import read_layers
from leo_runtime.layers import reference
from leo_runtime.layers.graph import LayerGraph
from leo_runtime.layers.kinds.definition import call_of

LAYERS, MOST = 160, 40
"""Layers a kind that the fit counts, and their longest axis."""


def exactness(cases: int) -> int:
    """How many values differ from the reference's, of random layers."""
    wrong = 0
    for target in sorted(TARGETS):
        machine, values, missed = HexagonMachine(target), 0, 0
        for kind in KINDS:
            for graph in drawn(kind, cases, 12):
                for expected, got, _ in run(machine, graph):
                    values += expected.size
                    missed += int((expected != got).sum())
        machine.close()
        print(f"{target}: {len(KINDS)} kinds, {cases} layers each, {values:,} values, {missed} differ", flush=True)
        wrong += missed
    return int(wrong > 0)


def drawn(kind: str, count: int, most: int) -> Iterator[LayerGraph]:
    rng = np.random.default_rng(sum(kind.encode()))
    for _ in range(count):
        yield KINDS[kind](rng, most)


def run(machine: HexagonMachine, graph: LayerGraph) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Each output by the reference and by the program, and the program's packets."""
    rng = np.random.default_rng(1)
    inputs = [some_values(graph.tensors[number], rng) for number in graph.inputs]
    given, counted = programs.HexagonLayers(machine, graph).counted(inputs)
    for expected, got in zip(reference.run(graph, inputs), given, strict=True):
        yield expected, got, counted.packets


def fit(write: bool, only: list[str]) -> None:
    """Errors of foretold packets, median and worst, on the layers fitted and on those held out."""
    table: dict[str, dict[str, dict[str, int]]] = {}
    for target in sorted(TARGETS):
        machine = HexagonMachine(target)
        costs = table[target] = dict(layers.PACKETS[target]) if only else {}
        for kind in only or ("RESHAPE", *(kind for kind in KINDS if kind != "RESHAPE")):
            counted = [(graph, next(run(machine, graph))[2]) for graph in drawn(kind, LAYERS, MOST)]
            if kind == "RESHAPE":
                costs["call"] = fitted_costs([(layers.border_loops(graph), count) for graph, count in counted[::2]])
            else:
                costs[kind] = fitted_costs([of_layer(graph, count, costs, target) for graph, count in counted[::2]])
            halves = [errors(half, costs) for half in (counted[::2], counted[1::2])]
            shown = " ".join(f"{name} {cost / 1000:g}" for name, cost in costs.get(kind, costs["call"]).items())
            print(f"{target:8} {kind:18}", *(f"{m:6.1%} {w:6.1%} " for m, w in halves), shown, flush=True)
        machine.close()
    if write:
        layers.FILE.write_text(json.dumps(table, indent=1) + "\n")


IN_ITS_PLACE = ("block", "step", "scaled_two", "byte", "eight")
"""Loops of layers with weights that are others where the vector unit is."""


def of_layer(graph: LayerGraph, count: int, costs: dict[str, dict[str, int]], target: str) -> tuple[Loops, int]:
    """A layer's loops that a target has, and its packets without those of the call."""
    (layer,) = graph.layers
    loops = layers.loops(call_of(graph, layer))
    has_vectors = target.endswith("hvx") and any(name.startswith("vector") for name in loops)
    loops = {
        name: number
        for name, number in loops.items()
        if (name not in IN_ITS_PLACE if has_vectors else not name.startswith("vector"))
    }
    return loops, max(1, count - packets(layers.border_loops(graph), costs["call"]))


def errors(counted: list[tuple[LayerGraph, int]], costs: dict[str, dict[str, int]]) -> tuple[float, float]:
    found = [abs(layers.packets_of(graph, costs) - count) / count for graph, count in counted]
    return float(np.median(found)), max(found)


def models(paths: list[Path]) -> int:
    """Whole models on every target."""
    wrong = 0
    for target in sorted(TARGETS):
        machine = HexagonMachine(target)
        for path in paths:
            graph = read_layers(parse_tflite(path.read_bytes(), path.name))
            if (why := layers.lacks(graph) or programs.lacks(graph)) is not None:
                print(f"{path.name}: {why}")
                continue
            outputs = list(run(machine, graph))
            missed = sum(int((expected != got).sum()) for expected, got, _ in outputs)
            count, foretold = outputs[0][2], layers.packets_of(graph, layers.PACKETS[target])
            print(
                f"{target:8} {path.name:44} {count:>10,} packets, foretold {foretold / count - 1:+.1%}, {missed} differ"
            )
            wrong += missed
        machine.close()
    return int(wrong > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["exactness", "fit", "models"])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--cases", type=int, default=200, help="random layers a kind and target (default: 200)")
    parser.add_argument("--only", nargs="+", default=[], choices=sorted(KINDS), help="fit these kinds alone")
    parser.add_argument("--write", action="store_true", help="store the fit")
    given = parser.parse_args()
    if given.what == "exactness":
        return exactness(given.cases)
    if given.what == "models":
        return models(given.models)
    fit(given.write, given.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
