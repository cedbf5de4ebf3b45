"""An answer written down: compiled against interpreted, and as pydantic itself would hold it."""

import pickle
from time import perf_counter_ns

from hypothesis import given, settings
from hypothesis import strategies as st

from leo_runtime.documents.problem import Placement
from leo_runtime.solver.compiled import Compiled, interpreted
from leo_runtime.solver.search import placements
from leo_runtime.testing import random_problem


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 20))
def test_compiled_and_interpreted_write_what_pydantic_would(seed: int, stages: int) -> None:
    compiled = Compiled(random_problem(seed, stages=stages))
    kernel = compiled.kernel()
    kernel.evaluate([-1] * stages, kernel.rank_order())
    said = (compiled.flat, kernel.answer(), "hand", "feasible", (1, 2), perf_counter_ns())
    first, second = (
        write(*said).model_copy(update={"solve_us": 0})
        for write in (placements.placement, interpreted("placements").placement)
    )
    assert first.to_json() == second.to_json()
    assert first == second == pickle.loads(pickle.dumps(first)) == Placement.from_json(first.to_json())
    for part in (first, first.criteria, *first.stages, *first.transfers):
        assert part is not None and list(part.__dict__) == list(type(part).model_fields)
        assert part.model_fields_set == set(type(part).model_fields)
