# C types for openings.py, as arrays.pxd is for arrays.py.
from leo_runtime.solver.search.arrays cimport i64, ints
from leo_runtime.solver.search.clauses cimport ClauseSearch
from leo_runtime.solver.search.formulation cimport HEADER
from leo_runtime.solver.search.schedule cimport FAR

cdef i64 CERTAIN

cdef class Openings(ClauseSearch):
    cdef i64[::1] page
    cdef i64 always, gates, horizon, last_us, openings, page_at, phased
    cdef ints awake_until, behind, busy_mw, chance, found_result, mode_nj, gate_opens, gate_stage, guide
    cdef ints kept_mode, kept_phase, kept_send, kept_start, kept_until, linger_mw, linger_us, open_first
    cdef ints open_from, open_wakes, raw_nj, send_empty, send_gate, send_wait, span_certain
    cdef ints span_gate, span_mw, span_until, span_used, span_wake_nj, span_wake_us, window_cost, window_ever
    cdef ints window_least, within

    cdef ints _given(self, i64 count)
    cdef void _read_page(self)
    cdef void _charge_sendings(self) noexcept nogil
    cdef i64 _likely(self, i64 nj, i64 ppm) noexcept nogil
    cdef i64 _likely_least(self, i64 nj, i64 ppm) noexcept nogil
    cdef i64 _gate_behind(self, i64 gate, i64 other) noexcept nogil
    cdef i64 _is_behind(self, i64 i, i64 gate) noexcept nogil
    cdef void _number_list(self, i64 i, i64 t) noexcept nogil
    cdef i64 _may_wait(self, i64 i, i64 t, i64 gate) noexcept nogil
    cdef void _write_list(self, i64 empty, i64 row, ints listed) noexcept nogil
    cdef void _add_gates(self, i64 row, ints listed, i64 i) noexcept nogil
    cdef void _number_opening(self, i64 t, i64 k) noexcept nogil
    cdef i64 _is_useful(self, i64 t, i64 gate) noexcept nogil
    cdef i64 _ready(self, i64 t, i64 k) noexcept nogil
    cdef void _number_use(self, i64 t, i64 a) noexcept nogil
    cdef void _wait_in_span(self, i64 t, i64 a, i64 k, i64 v) noexcept nogil
    cdef void _write_sequence(self, i64 t) noexcept nogil
    cdef void _write_uses(self, i64 t) noexcept nogil
    cdef void _wait_for_list(self, i64 i, i64 t) noexcept nogil
