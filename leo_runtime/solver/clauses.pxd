# C types for clauses.py, as schedule.pxd is for schedule.py.
cimport cython
from leo_runtime.solver.formulation cimport CRITERIA, HEADER
from leo_runtime.solver.kernel cimport Kernel
from leo_runtime.solver.propagation cimport Propagation
from leo_runtime.solver.schedule cimport FAR, i64, ints

cdef i64 VARIABLES, LASTING, STORE, RESTART, BUMP, HIGH, RUNS, SPARE_RUNS, STATES, LINK, KEPT

@cython.final
cdef class ClauseSearch(Propagation):
    cdef object room
    cdef i64 aim, bump, criteria, crowded, current, failures, floor, given_size, heat, impossible, limit_nodes
    cdef i64 never, recalled, set_size, stamp, target, visited
    cdef ints activity, alive, answer_mode, answer_start, base_bound, base_lists, best_mode, best_result, cause
    cdef ints common_lists, given, given_list, given_need, halted, inside, kept_prices, kept_run, lane_opens
    cdef ints level_seen, limit, need, objective, opens_first, phase, place, proved, run_asleep, run_cap, run_new
    cdef ints run_state, set_list, state_link, state_new

    cdef void _share_all(self, Kernel kernel)
    cdef void _carve_all(self)
    cdef void _begin(self) noexcept nogil
    cpdef i64 search(self, i64 limit_nodes)
    cpdef i64 recall(self)
    cdef i64 _search(self, i64 limit_nodes) noexcept nogil
    cdef i64 _bound_at_root(self, i64 c) noexcept nogil
    cdef void _limit_caps(self) noexcept nogil
    cdef i64 _recall(self) noexcept nogil
    cdef i64 _see_caps(self, i64 watched) noexcept nogil
    cdef i64 _minimise(self, i64 c) noexcept nogil
    cdef i64 _begin_anew(self, i64 watched) noexcept nogil
    cdef i64 _price(self) noexcept nogil
    cdef void _note_run(self) noexcept nogil
    cdef void _keep_prices(self) noexcept nogil
    cdef i64 _recall_prices(self) noexcept nogil
    cdef i64 _drop_dead(self) noexcept nogil
    cdef void _renumber(self) noexcept nogil
    cdef i64 _number_holds(self, i64 h, i64 number) noexcept nogil
    cdef void _close_up(self) noexcept nogil
    cdef void _forget_all(self) noexcept nogil
    cdef i64 _prices_hold(self, i64 run) noexcept nogil
    cdef i64 _link_holds(self, i64 link, i64 state) noexcept nogil
    cdef i64 _link_number(self, i64 link, i64 k) noexcept nogil
    cdef void _see_links(self) noexcept nogil
    cdef i64 _luby(self, i64 run) noexcept nogil
    cdef i64 _start(self) noexcept nogil
    cdef void _base(self) noexcept nogil
    cdef void _save(self, ints bounds, ints lists) noexcept nogil
    cdef void _restore(self, ints bounds, ints lists) noexcept nogil
    cdef i64 _set_apart(self) noexcept nogil
    cdef i64 _opens(self, i64 t, i64 lane) noexcept nogil
    cdef void _see_common(self) noexcept nogil
    cdef i64 _cap_all(self) noexcept nogil
    cdef void _follow(self) noexcept nogil
    cdef i64 _entry(self, i64 h, i64 value) noexcept nogil
    cdef void _gather(self, i64 h, i64 value) noexcept nogil
    cdef void _give(self, i64 h, i64 value) noexcept nogil
    cdef i64 _unfold(self, i64 reason, i64 h, i64 less) noexcept nogil
    cdef i64 _conflict_place(self) noexcept nogil
    cdef i64 _learn(self) noexcept nogil
    cdef void _cool(self) noexcept nogil
    cdef void _shorten(self, i64 asserted) noexcept nogil
    cdef i64 _implied(self, i64 h) noexcept nogil
    cdef i64 _covered(self, i64 h, i64 value, i64 e) noexcept nogil
    cdef void _write_learned(self, i64 asserted) noexcept nogil
    cdef void _forget(self) noexcept nogil
    cdef void _forget_unused(self) noexcept nogil
    cdef void _keep_clauses(self, i64 levels, i64 since, i64 room) noexcept nogil
    cdef i64 _watch_all(self, i64 size) noexcept nogil
    cdef i64 _sort_atoms(self, i64 c) noexcept nogil
    cdef i64 _choose_end(self) noexcept nogil
    cdef i64 _choose(self) noexcept nogil
    cdef i64 _choose_mode_or_order(self) noexcept nogil
    cdef i64 _mode_choice(self, i64 g) noexcept nogil
    cdef i64 _overlap(self, i64 t, i64 most) noexcept nogil
    cdef i64 _under_way(self, i64 b, i64 time) noexcept nogil
    cdef i64 _untangle(self, i64 size, i64 most) noexcept nogil
    cdef void _found(self) noexcept nogil
