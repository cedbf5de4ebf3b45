# C types for propagation.py, as arrays.pxd is for arrays.py.
from leo_runtime.solver.search.arrays cimport i64, ints
from leo_runtime.solver.search.formulation cimport HEADER, Formulation
from leo_runtime.solver.search.schedule cimport FAR

cdef i64 ARENA

cdef class Propagation(Formulation):
    cdef i64 arena_max, arena_size, charged, conflict_half, conflict_reason, conflict_value, full, gone_size
    cdef i64 heavy_taken, heavy_waiting, level, reached, reason, reasons_max, runs, scale, states, taken, trail
    cdef i64 trail_max, waiting
    cdef ints alive, arena, awake_price, bound, budget_max, cap, certain, common, cost, gone, group, heavy, least
    cdef ints least_ever, level_arena, level_gone, level_trail, listed, newest, penalty, queue, queued, root
    cdef ints send_nj, shown, there, trail_before, trail_half, trail_last, trail_level, trail_reason, trail_value
    cdef ints where

    cdef void _share_caps(self)
    cdef void _count_trail(self)
    cdef void _carve_trail(self)
    cdef void _empty(self) noexcept nogil
    cdef void _settle(self) noexcept nogil
    cdef void _decide(self, i64 h, i64 value) noexcept nogil
    cdef void _cancel(self, i64 level) noexcept nogil
    cdef i64 _set(self, i64 h, i64 value, i64 reason) noexcept nogil
    cdef void _why(self) noexcept nogil
    cdef void _because(self, i64 h, i64 value, i64 slope) noexcept nogil
    cdef i64 _so(self, i64 h, i64 value) noexcept nogil
    cdef i64 _so_not(self) noexcept nogil
    cdef void _wake(self, i64 rule) noexcept nogil
    cdef void _wake_caps(self) noexcept nogil
    cdef i64 _propagate(self) noexcept nogil
    cdef i64 _run_heavy(self, i64 rule) noexcept nogil
    cdef i64 _follow_clauses(self, i64 h) noexcept nogil
    cdef void _swap(self, i64 m, i64 o) noexcept nogil
    cdef void _drop(self, i64 a) noexcept nogil
    cdef void _admit(self, i64 a) noexcept nogil
    cdef i64 _holds(self, i64 h) noexcept nogil
    cdef i64 _run_stage(self, i64 i) noexcept nogil
    cdef i64 _useless(self, i64 gate) noexcept nogil
    cdef i64 _term_value(self, i64 m) noexcept nogil
    cdef void _because_term(self, i64 m, i64 value, i64 slope) noexcept nogil
    cdef void _because_link(self, i64 link) noexcept nogil
    cdef i64 _run_min(self, i64 q) noexcept nogil
    cdef i64 _run_sum(self, i64 q) noexcept nogil
    cdef i64 _run_late(self) noexcept nogil
    cdef i64 _run_row(self, i64 rule) noexcept nogil
    cdef i64 _run_energy(self, i64 charged) noexcept nogil
    cdef i64 _run_window(self) noexcept nogil
    cdef i64 _before(self, i64 a, i64 b) noexcept nogil
    cdef i64 _present(self, i64 a) noexcept nogil
    cdef i64 _absent(self, i64 a) noexcept nogil
    cdef void _because_present(self, i64 a) noexcept nogil
    cdef i64 _run_activity(self, i64 a) noexcept nogil
    cdef i64 _run_pair(self, i64 first, i64 a, i64 b) noexcept nogil
    cdef i64 _run_order(self, i64 first, i64 a, i64 b) noexcept nogil
    cdef i64 _run_lanes(self, i64 t) noexcept nogil
    cdef i64 _run_load(self, i64 t) noexcept nogil
