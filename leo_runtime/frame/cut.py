"""Cuts stages into parts: a mixture a class model (LEO, MobiCom 2016), a network's rows into patches.

A stage with `parts` = k becomes k stages `name[0]` to `name[k-1]`, which are placed like any other, and a `join` under
the stage's own name, so that nothing changes for what reads it.
"""

from __future__ import annotations

from leo_runtime.documents.binding import BoundStage, bind
from leo_runtime.documents.workload import Stage, TaskGraph, Workload
from leo_runtime.errors import GraphError
from leo_runtime.operators import Part


def cut(graph: TaskGraph, workload: Workload) -> TaskGraph:
    """The same graph with every stage of more than one part cut. Raises `GraphError` where that cannot be done."""
    if all(stage.parts == 1 for stage in graph.stages):
        return graph
    whole = bind(graph, workload)
    given = {stage.name for stage in graph.stages}
    stages: list[Stage] = []
    for stage in graph.stages:
        pieces = _pieces(stage, whole[stage.name], graph)
        for piece in pieces:
            if piece.name != stage.name and piece.name in given:
                raise GraphError(
                    f"stage `{stage.name}` of graph `{graph.name}` is cut into {stage.parts} parts, and another stage "
                    f"already has the name of one, `{piece.name}`",
                    hint=f"give `{piece.name}` another name, or leave out `parts`",
                )
        stages += pieces
    return graph.model_copy(update={"stages": tuple(stages)})


def _pieces(stage: Stage, bound: BoundStage, graph: TaskGraph) -> list[Stage]:
    if stage.parts == 1:
        return [stage]
    where = f"stage `{stage.name}` of graph `{graph.name}`"
    if bound.operator.cut is None:
        raise GraphError(f"{where} cannot be cut: its operator is `{bound.operator.name}`", hint="leave out `parts`")
    try:
        parts = bound.operator.cut(bound.params[stage.variants[0].name], bound.input_shapes, stage.parts)
    except GraphError as error:
        raise GraphError(f"{where}: {error}") from None
    # Each part loses its share, rounded up, so that a budget over all of them stays kept.
    variants = tuple(
        variant.model_copy(update={"accuracy_loss_ppm": -(-variant.accuracy_loss_ppm // stage.parts)})
        for variant in stage.variants
    )
    pieces: list[Stage] = []
    for number, part in enumerate(parts):
        name = f"{stage.name}[{number}]"
        inputs = stage.inputs
        if part.rows is not None:
            inputs = (f"{name}.rows",)
            pieces.append(_rows(inputs[0], stage, part))
        own = {"name": name, "inputs": inputs, "params": {**stage.params, **part.params}, "variants": variants}
        pieces.append(stage.model_copy(update={**own, "parts": 1}))
    axis = "columns" if parts[0].rows is None else "rows"
    joined = tuple(f"{stage.name}[{number}]" for number in range(len(parts)))
    pieces.append(Stage(name=stage.name, operator="join", inputs=joined, params={"axis": axis}, gate=stage.gate))
    return pieces


def _rows(name: str, stage: Stage, part: Part) -> Stage:
    params = {"first": part.first_row, "count": part.rows}
    return Stage(name=name, operator="rows", inputs=stage.inputs, params=params, gate=stage.gate)
