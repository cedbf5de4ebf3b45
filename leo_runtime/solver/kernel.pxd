# C types for kernel.py. `i64` is every quantity and index; arrays are contiguous.
ctypedef long long i64
ctypedef i64[::1] ints

cdef i64 FAR

cdef class Kernel:
    cdef ints source
    cdef i64 at
    cdef i64 n, r, g, deadlines, budgets, criteria
    cdef ints lane_first, asleep, wake_us, wake_nj, awake_mw, memory_cap, ready, links
    cdef ints release, input_first, inputs, mode_first
    cdef ints resource, duration, energy, output, memory, loss
    cdef ints due_stage, due, weight, budget_first, budget_stage, budget_max, limit, objective
    cdef ints open, send_us, send_nj, mode, start, end, lane, after, arrive, head, sent, made, rank, last, result

    cdef ints _take(self, i64 count)
    cdef void _carve(self)
    cdef void _carve_scratch(self)
    cdef void _expand(self) noexcept nogil
    cdef void _rank(self) noexcept nogil
    cdef void _schedule(self) noexcept nogil
    cdef i64 _earliest_mode(self, i64 i) noexcept nogil
    cdef i64 _inputs_at(self, i64 i, i64 target, i64 trial) noexcept nogil
    cdef i64 _place(self, i64 a, i64 r, i64 ready, i64 took) noexcept nogil
    cdef void _remove(self, i64 a) noexcept nogil
    cdef void _measure(self) noexcept nogil
