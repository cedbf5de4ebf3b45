# C types for bounds.py, as arrays.pxd is for arrays.py.
cimport cython
from leo_runtime.solver.search.arrays cimport i64, ints
from leo_runtime.solver.search.local_search cimport LocalSearch
from leo_runtime.solver.search.schedule cimport FAR

cdef i64 SCALE, DUES

cdef class Bounds(LocalSearch):
    cdef i64 busiest, price_rest, row_credit, sure, target, tightened, trail_size
    cdef ints alive, awake_price, cap, ceiling, cost, count, done, early, floor, last_start, late_from, latest
    cdef ints least_late, least_priced, met_last, node_bound, only, penalty, reach, soonest, stage_of, sure_list
    cdef ints surely, trail, work_from, work_of, work_sorted, work_to, work_us

    cdef void _carve_domains(self)
    cdef void _reset_domains(self) noexcept nogil
    cdef void _kill(self, i64 g) noexcept nogil
    cdef void _undo(self, i64 mark) noexcept nogil
    cdef i64 _propagate(self) noexcept nogil
    cdef i64 _forward(self) noexcept nogil
    cdef i64 _in_turn(self) noexcept nogil
    cdef void _take_turns(self) noexcept nogil
    cdef i64 _in_turn_on(self, i64 k, i64 dues) noexcept nogil
    cdef i64 _backward(self) noexcept nogil
    cdef i64 _sums(self) noexcept nogil
    cdef i64 _decided(self, i64 i) noexcept nogil
    cdef i64 _spend(self) noexcept nogil
    cdef void _unsure(self) noexcept nogil
    cdef i64 _sending(self, i64 i, i64 g) noexcept nogil
    cdef i64 _loads(self) noexcept nogil
    cdef void _order_pairs(self, i64 size) noexcept nogil
    cdef i64 _overloaded(self, i64 k, i64 size) noexcept nogil
    cdef i64 _work_end(self, i64 k, i64 size) noexcept nogil
    cdef void _sort_work(self, i64 size) noexcept nogil
    cdef i64 _room(self, i64 k, i64 start, i64 stop) noexcept nogil
