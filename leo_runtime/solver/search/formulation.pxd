# C types for formulation.py, as arrays.pxd is for arrays.py.
from leo_runtime.solver.search.arrays cimport Arrays, i64, ints
from leo_runtime.solver.search.kernel cimport Kernel
from leo_runtime.solver.search.schedule cimport FAR

cdef i64 HEADER, CRITERIA, TWINS

cdef class Formulation(Arrays):
    cdef Kernel kernel
    cdef i64 acts_max, budgets, clause, deadlines, g, lasting, mins, mins_max, modes_squared, n
    cdef i64 numbered_end, order_start, orders_max, priced_in, r, rule_activity, rule_budget, rule_energy
    cdef i64 rule_lanes, rule_late, rule_load, rule_loss, rule_memory, rule_priced, rule_stage, rule_sum, rule_window, rules
    cdef i64 sends_max, slow, static_max, static_size, store_max, store_size, sums, sums_max, telling, terms
    cdef i64 terms_max, turn, vars, vars_max, vars_window, window_start
    cdef ints act_at, act_first, act_of, act_on, act_row, act_start, act_took, arrive, asleep, awake, awake_mw
    cdef ints begin, budget_first, budget_stage, due, due_stage, duration, earliest, end, energy, former, head
    cdef ints initial, input_first, inputs, lane_first, latter, links, loss, memory, memory_cap, min_first
    cdef ints min_gate, min_of, mode_first, on, open, opening, order_first, output, reader_first, readers, release
    cdef ints resource, send_us, sleeps, stage_of, store, sum_from, sum_gate, sum_if, sum_of, sum_plus, sum_us
    cdef ints term_a, term_b, term_least, term_link, term_mode, term_more, term_us, told, told_first, total, twin
    cdef ints used, wake_nj, wanted, weight

    cdef void _share(self, Kernel kernel)
    cdef void _count(self)
    cdef void _carve(self)
    cdef i64 _new(self, i64 low, i64 high) noexcept nogil
    cdef void _number(self) noexcept nogil
    cdef void _number_window(self) noexcept nogil
    cdef i64 _waiting(self, i64 i, i64 target) noexcept nogil
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
    cdef void _time_links(self) noexcept nogil
    cdef void _sum(self, i64 condition, i64 gate, i64 v, i64 a, i64 plus, i64 us) noexcept nogil
    cdef void _fill(self) noexcept nogil
    cdef void _tell(self, i64 h, i64 rule) noexcept nogil
    cdef void _subscribe(self) noexcept nogil
    cdef void _tell_of_activity(self, i64 a, i64 rule) noexcept nogil
    cdef void _clause_begin(self) noexcept nogil
    cdef void _clause_atom(self, i64 h, i64 value) noexcept nogil
    cdef void _clause_add(self, i64 h) noexcept nogil
    cdef void _clause_end(self) noexcept nogil
    cdef void _either(self, i64 h, i64 other) noexcept nogil
    cdef void _watch(self, i64 c) noexcept nogil
