# C types for clauses.py, as kernel.pxd is for kernel.py.
cimport cython
from leo_runtime.solver.kernel cimport Kernel, i64, ints

cdef i64 FAR
cdef i64 SCALE, VARIABLES, HEADER, LASTING, CRITERIA, RUNS, SPARE_RUNS, STATES, LINK, TWINS, STORE, ARENA, RESTART, BUMP, HIGH, KEPT

@cython.final
cdef class ClauseSearch:
    cdef Kernel kernel
    cdef object room
    cdef i64[::1] block
    cdef i64 acts_max, arena_max, arena_size, at, budgets, bump, charged, clause, conflict_half, conflict_reason
    cdef i64 conflict_value, criteria, crowded, current, deadlines, failures, floor, full, g, gone_size, heat
    cdef i64 given_size, heavy_taken, heavy_waiting, impossible, lasting, never, level, limit_nodes, measuring, mins, mins_max, modes_squared
    cdef i64 n, order_start, orders_max, r, reached, reason, recalled, aim, reasons_max, rule_activity, rule_budget
    cdef i64 rule_energy, rule_lanes, rule_load, rule_late, rule_loss, rule_memory, rule_priced, rule_stage, rule_sum
    cdef i64 rules, scale, sends_max, set_size, stamp, static_max, static_size, store_max, store_size, sums
    cdef i64 sums_max, taken, target, telling, terms, terms_max, trail, trail_max, vars, vars_max, visited
    cdef i64 numbered_end, priced_in, runs, slow, states, turn, waiting
    cdef ints act_at, act_first, act_of, act_on, act_row, act_start, act_took, activity, alive
    cdef ints answer_mode, answer_start, arena, arrive, asleep, awake, awake_mw, awake_price, base, begin
    cdef ints best_mode, best_result, bound, budget_first, budget_max, budget_stage, cap, cost, due, due_stage
    cdef ints duration, end, energy, first, former, gone, halted, head, heavy, input_first, inputs
    cdef ints inside, lane_first, latter, level_arena, level_gone, level_seen, level_trail, limit, links, listed
    cdef ints loss, low, memory, memory_cap, min_first, min_gate, min_of, mode_first, need, newest
    cdef ints objective, on, open, opening, order_first, over, penalty, phase, place, proved, queue, queued
    cdef ints reader_first, readers, release, resource, root, send_nj, send_us, set_list, shown, stage_of, store
    cdef ints sum_from, sum_gate, sum_if, sum_of, sum_plus, sum_us, surely, term_a, term_b, term_mode, term_more
    cdef ints term_us, there, told, told_first, trail_before, trail_half, trail_last, trail_level, trail_reason
    cdef ints common, base_bound, base_lists, common_lists, earliest, given, given_list, given_need, kept, kept_run, output, twin, run_new, run_state, state_link, state_new, term_least, term_link, lane_opens, most, opens_first, run_asleep, run_cap
    cdef ints cause, sleeps
    cdef ints trail_value, used, wake_nj, wanted, weight, where

    cdef void _share(self, Kernel kernel)
    cdef ints _take(self, i64 count)
    cdef void _count(self)
    cdef void _carve(self)
    cdef i64 _new(self, i64 low, i64 high) noexcept nogil
    cdef void _number(self) noexcept nogil
    cdef void _find_twins(self) noexcept nogil
    cdef i64 _alike(self, i64 i, i64 j, i64 last) noexcept nogil
    cdef i64 _modes_alike(self, i64 i, i64 j) noexcept nogil
    cdef i64 _duties_alike(self, i64 i, i64 j) noexcept nogil
    cdef void _write_twins(self) noexcept nogil
    cdef void _write_turns(self, i64 i, i64 j) noexcept nogil
    cdef i64 _activity_of(self, i64 i, i64 t) noexcept nogil
    cdef void _number_orders(self, i64 t) noexcept nogil
    cdef void _number_place(self, i64 i, i64 t) noexcept nogil
    cdef void _number_arrival(self, i64 i, i64 t) noexcept nogil
    cdef i64 _number_activities(self, i64 t, i64 acts) noexcept nogil
    cdef i64 _over(self, i64 g, i64 target, i64 radio) noexcept nogil
    cdef i64 _sends_over(self, i64 i, i64 target, i64 radio) noexcept nogil
    cdef i64 _whether_sent(self, i64 i, i64 target, i64 radio) noexcept nogil
    cdef i64 _length(self, i64 i, i64 target, i64 t) noexcept nogil
    cdef void _write_used(self, i64 act, i64 t) noexcept nogil
    cdef void _write_stage(self, i64 i) noexcept nogil
    cdef void _write_arrival(self, i64 i, i64 t) noexcept nogil
    cdef i64 _sending(self, i64 i, i64 target, i64 radio) noexcept nogil
    cdef void _min(self, i64 v, i64 gate) noexcept nogil
    cdef void _term(self, i64 g, i64 a, i64 us, i64 b, i64 link) noexcept nogil
    cdef void _sum(self, i64 condition, i64 gate, i64 v, i64 a, i64 plus, i64 us) noexcept nogil
    cdef void _fill(self) noexcept nogil
    cdef void _swap(self, i64 m, i64 o) noexcept nogil
    cdef void _admit(self, i64 a) noexcept nogil
    cdef void _drop(self, i64 a) noexcept nogil
    cdef void _tell_of_activity(self, i64 a, i64 rule) noexcept nogil
    cdef void _tell(self, i64 h, i64 rule) noexcept nogil
    cdef void _subscribe(self) noexcept nogil
    cdef void _clause_begin(self) noexcept nogil
    cdef void _clause_atom(self, i64 h, i64 value) noexcept nogil
    cdef void _clause_add(self, i64 h) noexcept nogil
    cdef void _clause_end(self) noexcept nogil
    cdef void _either(self, i64 h, i64 other) noexcept nogil
    cdef void _watch(self, i64 c) noexcept nogil
    cdef i64 _holds(self, i64 h) noexcept nogil
    cpdef i64 search(self, i64 limit_nodes)
    cdef i64 _search(self, i64 limit_nodes) noexcept nogil
    cpdef i64 recall(self)
    cdef i64 _least(self, i64 c) noexcept nogil
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
    cdef i64 _is_here(self, i64 h, i64 number) noexcept nogil
    cdef void _close_up(self) noexcept nogil
    cdef i64 _takes_as_much(self, i64 link, i64 state) noexcept nogil
    cdef i64 _link_number(self, i64 link, i64 k) noexcept nogil
    cdef void _see_links(self) noexcept nogil
    cdef void _time_links(self) noexcept nogil
    cdef void _because_link(self, i64 link) noexcept nogil
    cdef void _forget_all(self) noexcept nogil
    cdef i64 _holds_here(self, i64 run) noexcept nogil
    cdef i64 _luby(self, i64 run) noexcept nogil
    cdef i64 _start(self) noexcept nogil
    cdef void _base(self) noexcept nogil
    cdef void _save(self, ints bounds, ints lists) noexcept nogil
    cdef void _restore(self, ints bounds, ints lists) noexcept nogil
    cdef i64 _set_apart(self) noexcept nogil
    cdef i64 _opens(self, i64 t, i64 lane) noexcept nogil
    cdef void _see_common(self) noexcept nogil
    cdef void _empty(self) noexcept nogil
    cdef i64 _cap_all(self) noexcept nogil
    cdef void _wake_caps(self) noexcept nogil
    cdef void _follow(self) noexcept nogil
    cdef void _settle(self) noexcept nogil
    cdef void _decide(self, i64 h) noexcept nogil
    cdef void _cancel(self, i64 level) noexcept nogil
    cdef i64 _set(self, i64 h, i64 value, i64 reason) noexcept nogil
    cdef void _why(self) noexcept nogil
    cdef void _because(self, i64 h, i64 value, i64 slope) noexcept nogil
    cdef i64 _so(self, i64 h, i64 value) noexcept nogil
    cdef i64 _so_not(self) noexcept nogil
    cdef void _wake(self, i64 rule) noexcept nogil
    cdef i64 _propagate(self) noexcept nogil
    cdef i64 _run_heavy(self, i64 rule) noexcept nogil
    cdef i64 _follow_clauses(self, i64 h) noexcept nogil
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
    cdef i64 _run_stage(self, i64 i) noexcept nogil
    cdef i64 _useless(self, i64 gate) noexcept nogil
    cdef i64 _term_value(self, i64 m) noexcept nogil
    cdef void _because_term(self, i64 m, i64 value, i64 slope) noexcept nogil
    cdef i64 _run_min(self, i64 q) noexcept nogil
    cdef i64 _run_sum(self, i64 q) noexcept nogil
    cdef i64 _run_late(self) noexcept nogil
    cdef void _because_late(self, i64 but, i64 spare) noexcept nogil
    cdef i64 _run_row(self, i64 rule) noexcept nogil
    cdef void _because_cap(self, i64 c, i64 spare, i64 slope) noexcept nogil
    cdef void _because_row(self, i64 rule, i64 but, i64 spare) noexcept nogil
    cdef i64 _with_sendings(self, i64 i, i64 g) noexcept nogil
    cdef void _charge(self, i64 charged) noexcept nogil
    cdef i64 _staying(self, i64 t, i64 until) noexcept nogil
    cdef i64 _staying_at_most(self, i64 t, i64 cost) noexcept nogil
    cdef i64 _cap_resource(self, i64 t, i64 left) noexcept nogil
    cdef i64 _cap_sendings(self, i64 i, i64 left) noexcept nogil
    cdef i64 _energy_left(self, i64 charged) noexcept nogil
    cdef i64 _run_energy(self, i64 charged) noexcept nogil
    cdef void _because_sendings(self, i64 i, i64 g) noexcept nogil
    cdef i64 _waking(self, i64 t) noexcept nogil
    cdef void _because_asleep(self, i64 t) noexcept nogil
    cdef void _because_energy(self, i64 but, i64 but_awake, i64 spare) noexcept nogil
    cdef i64 _before(self, i64 a, i64 b) noexcept nogil
    cdef i64 _present(self, i64 a) noexcept nogil
    cdef i64 _absent(self, i64 a) noexcept nogil
    cdef void _because_present(self, i64 a) noexcept nogil
    cdef i64 _run_activity(self, i64 a) noexcept nogil
    cdef i64 _run_pair(self, i64 first, i64 a, i64 b) noexcept nogil
    cdef i64 _run_order(self, i64 first, i64 a, i64 b) noexcept nogil
    cdef i64 _run_lanes(self, i64 t) noexcept nogil
    cdef i64 _sure_at(self, i64 a, i64 time) noexcept nogil
    cdef void _because_sure(self, i64 a, i64 time, i64 end) noexcept nogil
    cdef i64 _push_out(self, i64 t, i64 time, i64 sure) noexcept nogil
    cdef i64 _run_load(self, i64 t) noexcept nogil
    cdef i64 _latest_end(self, i64 a) noexcept nogil
    cdef void _because_loaded(self, i64 t, i64 last, i64 stop, i64 spare) noexcept nogil
    cdef i64 _choose_end(self) noexcept nogil
    cdef i64 _choose_mode_or_order(self) noexcept nogil
    cdef i64 _choose(self) noexcept nogil
    cdef i64 _mode_choice(self, i64 g) noexcept nogil
    cdef i64 _overlap(self, i64 t, i64 most) noexcept nogil
    cdef i64 _under_way(self, i64 b, i64 time) noexcept nogil
    cdef i64 _untangle(self, i64 size, i64 most) noexcept nogil
    cdef void _found(self) noexcept nogil
