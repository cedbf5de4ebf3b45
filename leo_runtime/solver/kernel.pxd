# C types for kernel.py, as schedule.pxd is for schedule.py.
cimport cython
from leo_runtime.solver.local_search cimport SAMPLES, LocalSearch
from leo_runtime.solver.schedule cimport FAR, i64, ints

cdef i64 SCALE, DUES, ROWS, CUTS, STEPS, ROOM, SWEEPS, ABSENT, LONGEST

@cython.final
cdef class Kernel(LocalSearch):
    cdef i64 busiest, price_base, price_rest, price_top, row_credit, rows, sure, target, tightened, trail_size
    cdef ints alive, awake_price, bound, cap, ceiling, cost, count, done, early, floor, last_start, late_from, latest
    cdef ints least_late, least_priced, met_last, node_bound, only, parent, path_end, penalty, pick, reach
    cdef ints row_awake, row_best, row_over, row_price, row_room, row_take, soonest, stage_of, sure_list, surely
    cdef ints least_share, read_by, sent_by, there
    cdef ints trail, work_from, work_of, work_sorted, work_to, work_us

    cdef void _carve_bounds(self)
    cpdef i64 root(self, i64 turns=*)
    cdef void _begin(self) noexcept nogil
    cdef i64 _rivals(self, i64 k) noexcept nogil
    cdef i64 _may_win(self, i64 k) noexcept nogil
    cdef i64 _root(self, i64 turns) noexcept nogil
    cdef i64 _may_be_less(self, i64 k, i64 turns) noexcept nogil
    cdef i64 _within(self, i64 k, i64 cap, i64 turns) noexcept nogil
    cdef i64 _price_alive(self) noexcept nogil
    cdef i64 _price_root(self) noexcept nogil
    cdef void _bound_from(self, i64 m) noexcept nogil
    cdef i64 _root_bound(self, i64 c) noexcept nogil
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
    cdef void _set_prices(self) noexcept nogil
    cdef void _clear_prices(self) noexcept nogil
    cdef i64 _new_row(self, i64 awake) noexcept nogil
    cdef i64 _relaxed(self, ints prices) noexcept nogil
    cdef i64 _raise_prices(self, i64 value, i64 left) noexcept nogil
    cdef i64 _share_sendings(self) noexcept nogil
    cdef void _least_shares(self) noexcept nogil
    cdef void _charge_places(self, i64 i) noexcept nogil
    cdef i64 _least_place(self, i64 i) noexcept nogil
    cdef i64 _pull(self, i64 p, i64 i, i64 j, i64 first) noexcept nogil
    cdef i64 _cut(self) noexcept nogil
    cdef void _fit_row(self, i64 row, i64 room) noexcept nogil
    cdef i64 _cut_lanes(self, i64 k) noexcept nogil
    cdef i64 _room(self, i64 k, i64 start, i64 stop) noexcept nogil
    cdef i64 _cut_memory(self, i64 k) noexcept nogil
    cdef i64 _cut_loss(self, i64 b) noexcept nogil
    cdef i64 _cut_path(self) noexcept nogil
    cdef i64 _delay(self, i64 g, i64 target) noexcept nogil
    cdef i64 _loads(self) noexcept nogil
    cdef void _order_pairs(self, i64 size) noexcept nogil
    cdef i64 _overloaded(self, i64 k, i64 size) noexcept nogil
    cdef i64 _work_end(self, i64 k, i64 size) noexcept nogil
    cdef void _sort_work(self, i64 size) noexcept nogil
