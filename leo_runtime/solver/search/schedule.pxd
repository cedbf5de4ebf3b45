# C types for schedule.py, as arrays.pxd is for arrays.py.
from leo_runtime.solver.search.arrays cimport Arrays, i64, ints

cdef i64 FAR
cdef i64 BROKEN

cdef class Schedule(Arrays):
    cdef i64[::1] data
    cdef i64 budgets, confined, criteria, deadlines, g, given, has_best, n, r, renewing, sends, ties
    cdef ints acts, after, arrive, asleep, awake_mw, before, best_arrive, best_lane, best_mode, best_result
    cdef ints best_sent, best_start, budget_first, budget_max, budget_stage, by, due, due_stage, duration, end
    cdef ints energy, halted, head, held, input_first, inputs, lane, lane_first, last, least, limit, links, loss
    cdef ints made, memory, memory_cap, mode, mode_first, objective, open, opening, output, rank, reader_first
    cdef ints readers, ready, release, resource, result, send_list, send_nj, send_us, sent, start, tail, wake_nj
    cdef ints wake_us, weight

    cdef void _read(self, i64[::1] data)
    cdef ints _given(self, i64 count)
    cdef void _carve_scratch(self)
    cdef void _expand(self) noexcept nogil
    cdef void _rank(self, i64 backward) noexcept nogil
    cdef void _schedule(self) noexcept nogil
    cdef void _unsend(self) noexcept nogil
    cdef i64 _earliest_mode(self, i64 i, i64 last) noexcept nogil
    cdef i64 _overlooked(self, i64 i, i64 g) noexcept nogil
    cdef i64 _inputs_at(self, i64 i, i64 target, i64 trial) noexcept nogil
    cdef i64 _place(self, i64 a, i64 r, i64 ready, i64 took) noexcept nogil
    cdef void _remove(self, i64 a) noexcept nogil
    cdef void _clear(self) noexcept nogil
    cdef i64 _adopt(self) noexcept nogil
    cdef void _measure(self) noexcept nogil
    cdef i64 _keep(self) noexcept nogil
    cdef void _restore(self) noexcept nogil
