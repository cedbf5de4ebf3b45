# C types for lasting.py, as arrays.pxd is for arrays.py.
cimport cython
from leo_runtime.solver.search.arrays cimport i64, ints
from leo_runtime.solver.search.formulation cimport CRITERIA, HEADER
from leo_runtime.solver.search.learning cimport Learning
from leo_runtime.solver.search.schedule cimport FAR

cdef i64 LASTING, RUNS, SPARE_RUNS, STATES, LINK

cdef class Lasting(Learning):
    cdef i64 impossible, never, recalled, target
    cdef ints base_bound, base_lists, common_lists, kept_prices, kept_run, lane_opens, opens_first, run_asleep, run_cap
    cdef ints run_new, run_state, state_link, state_new

    cdef void _carve_lasting(self)
    cdef i64 _start(self) noexcept nogil
    cdef void _base(self) noexcept nogil
    cdef void _save(self, ints bounds, ints lists) noexcept nogil
    cdef void _restore(self, ints bounds, ints lists) noexcept nogil
    cdef i64 _set_apart(self) noexcept nogil
    cdef i64 _opens(self, i64 t, i64 lane) noexcept nogil
    cdef void _see_common(self) noexcept nogil
    cdef i64 _price(self) noexcept nogil
    cdef void _note_run(self) noexcept nogil
    cdef void _keep_prices(self) noexcept nogil
    cdef i64 _recall_prices(self) noexcept nogil
    cdef i64 _drop_dead(self) noexcept nogil
    cdef i64 _prices_hold(self, i64 run) noexcept nogil
    cdef i64 _link_holds(self, i64 link, i64 state) noexcept nogil
    cdef i64 _link_number(self, i64 link, i64 k) noexcept nogil
    cdef i64 _number_holds(self, i64 h, i64 number) noexcept nogil
    cdef void _see_links(self) noexcept nogil
    cdef i64 _has_a_run_left(self) noexcept nogil
    cdef void _make_room(self) noexcept nogil
    cdef void _forget_unused(self) noexcept nogil
    cdef void _renumber(self) noexcept nogil
    cdef void _close_up(self) noexcept nogil
    cdef void _forget_all(self) noexcept nogil
    cdef i64 _watch_all(self, i64 size) noexcept nogil
    cdef i64 _sort_atoms(self, i64 c) noexcept nogil
