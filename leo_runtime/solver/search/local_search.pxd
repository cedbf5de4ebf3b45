# C types for local_search.py, as arrays.pxd is for arrays.py. What is inline is called from there alone.
from leo_runtime.solver.search.arrays cimport i64, ints
from leo_runtime.solver.search.schedule cimport FAR, Schedule

cdef i64 STEP, SAMPLES, HEAT, RELIEF, SORTED, STROLL, CEILING, FORBIDDEN

cdef class LocalSearch(Schedule):
    cdef i64 changes, charged, gaps, horizon, hot, logged, lost, powered, random, relieved, reordered_from, reordered_to, shunned
    cdef i64 standing
    cdef ints awake_at, broken_at, changed, climb_mode, dragged, due_next, due_of, last_at, late_at, latest_start
    cdef ints limit_end, log, log_at, mode_before, order_before, position, renewed, sample, unit, users, wanted

    cdef void _carve_changes(self)
    cpdef climb(self, i64 moves, i64 seed)
    cpdef climb_once(self, i64 moves, i64 seed)
    cpdef climb_again(self, i64 moves)
    cdef inline void _climb_once(self, i64 moves, i64 seed) noexcept nogil
    cdef inline i64 _start_from(self, i64 current) noexcept nogil
    cdef inline void _climb_again(self, i64 moves) noexcept nogil
    cdef inline void _by_start(self) noexcept nogil
    cdef inline void _stand(self) noexcept nogil
    cdef inline i64 _cost(self) noexcept nogil
    cdef inline void _cool(self, i64 moves, i64 hot) noexcept nogil
    cdef inline i64 _usual(self, i64 samples) noexcept nogil
    cdef inline i64 _change(self) noexcept nogil
    cdef inline void _change_back(self, i64 first) noexcept nogil
    cdef inline i64 _cost_from(self, i64 first, i64 most) noexcept nogil
    cdef inline i64 _least_scalar(self) noexcept nogil
    cdef inline i64 _more(self, i64 c, i64 left) noexcept nogil
    cdef inline i64 _schedule_from(self, i64 first, i64 late, i64 awake) noexcept nogil
    cdef inline void _log(self, i64 a, i64 k, i64 on) noexcept nogil
    cdef inline void _change_mode(self, i64 i, i64 g) noexcept nogil
    cdef inline void _give(self, i64 i, i64 g) noexcept nogil
    cdef inline void _want(self, i64 i, i64 t, i64 more) noexcept nogil
    cdef inline void _send(self, i64 i, i64 t, i64 more) noexcept nogil
    cdef inline void _enter(self, i64 k) noexcept nogil
    cdef inline void _leave(self, i64 k) noexcept nogil
    cdef void _units(self) noexcept nogil
    cdef inline i64 _scalar(self) noexcept nogil
    cdef inline i64 _renew(self, i64 i) noexcept nogil
    cdef i64 _overlooked(self, i64 i, i64 g) noexcept nogil
    cdef inline void _draw_near(self, i64 i) noexcept nogil
    cdef void _take_along(self, i64 i) noexcept nogil
    cdef inline i64 _reconnect(self, i64 i, i64 k) noexcept nogil
    cdef inline i64 _cut_off(self, i64 i, i64 j) noexcept nogil
    cdef inline i64 _send_to(self, i64 i, i64 k) noexcept nogil
    cdef i64 _gaps(self) noexcept nogil
    cdef inline void _trade(self, i64 i, i64 source) noexcept nogil
    cdef inline i64 _any_there(self, i64 i, i64 k) noexcept nogil
    cdef inline i64 _neighbour(self, i64 i) noexcept nogil
    cdef inline i64 _drag(self, i64 at, i64 to) noexcept nogil
    cdef inline i64 _sort(self, i64 low, i64 high) noexcept nogil
    cdef inline void _latest_starts(self, i64 low) noexcept nogil
    cdef inline void _save_order(self, i64 low, i64 high) noexcept nogil
    cdef inline i64 _reordered(self, i64 low, i64 high) noexcept nogil
    cdef void _try_alone(self, i64 k) noexcept nogil
    cdef i64 _alone(self, i64 k) noexcept nogil
    cdef inline i64 _mode_there(self, i64 i, i64 k, i64 what) noexcept nogil
    cdef inline i64 _simple_mode(self, i64 i, i64 k) noexcept nogil
    cdef void _order(self) noexcept nogil
    cdef void _sort_by_latest_start(self, i64 low, i64 high) noexcept nogil
    cdef inline i64 _roll(self, i64 sides) noexcept nogil
