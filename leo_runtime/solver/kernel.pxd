# C types for kernel.py. `i64` is every quantity and index; arrays are pointers into the kernel's one block of memory.
cimport cython

ctypedef long long i64
ctypedef i64* ints

cdef i64 FAR
cdef i64 SCALE, DUES, ROWS, CUTS, STEPS, ROOM, LONGEST, BROKEN, STEP, SAMPLES, HEAT, CEILING, FORBIDDEN

@cython.final
cdef class Kernel:
    cdef i64[::1] block
    cdef i64 confined, busiest
    cdef i64 at
    cdef i64 n, r, g, deadlines, budgets, criteria
    cdef ints lane_first, asleep, wake_us, wake_nj, awake_mw, memory_cap, ready, links
    cdef ints release, input_first, inputs, mode_first
    cdef ints resource, duration, energy, output, memory, loss
    cdef ints due_stage, due, weight, budget_first, budget_stage, budget_max, limit, objective
    cdef ints least_late, met_last, open, send_us, send_nj, mode, start, end, lane, after, before, arrive, head, tail, sent, made, rank, last, result
    cdef ints best_mode, best_start, best_lane, best_sent, best_arrive, best_result, climb_mode, position, unit, held, send_list
    cdef ints alive, count, stage_of, trail, cap, bound, node_bound, halted, cost, early, latest, floor, ceiling
    cdef ints soonest, limit_end, least, only, reach, last_start, surely, opening
    cdef ints reader_first, readers, work_from, work_to, work_us, work_of, work_sorted, done, by
    cdef ints penalty, least_priced, sure_list, awake_price, row_take, row_room, row_price, row_best, row_over
    cdef ints due_of, due_next, wanted, users, changed, former, renewed, log, log_at, late_at, awake_at, broken_at, last_at, sample
    cdef i64 changes, shifted_from, shifted_to, renewing, shunned, charged, lost, powered, standing, logged
    cdef ints late_from, row_awake, pick, parent, path_end
    cdef i64 rows, row_credit, price_base, price_top, sure
    cdef ints acts
    cdef i64 sends, has_best, ties, target, trail_size, random, tightened

    cdef void _load(self, i64[::1] data)
    cdef ints _take(self, i64 count)
    cdef void _carve(self)
    cdef void _carve_scratch(self)
    cdef void _expand(self) noexcept nogil
    cdef void _rank(self, i64 backward) noexcept nogil
    cdef void _schedule(self) noexcept nogil
    cdef i64 _earliest_mode(self, i64 i, i64 last) noexcept nogil
    cdef i64 _inputs_at(self, i64 i, i64 target, i64 trial) noexcept nogil
    cdef i64 _place(self, i64 a, i64 r, i64 ready, i64 took) noexcept nogil
    cdef void _remove(self, i64 a) noexcept nogil
    cdef void _clear(self) noexcept nogil
    cdef i64 _adopt(self) noexcept nogil
    cdef void _measure(self) noexcept nogil
    cpdef climb(self, i64 moves, i64 seed)
    cdef i64 _keep(self) noexcept nogil
    cdef void _restore(self) noexcept nogil
    cdef void _climb(self, i64 moves, i64 seed) noexcept nogil
    cdef void _by_start(self) noexcept nogil
    cdef void _stand(self) noexcept nogil
    cdef i64 _cost(self) noexcept nogil
    cdef void _cool(self, i64 moves, i64 hot) noexcept nogil
    cdef i64 _usual(self, i64 samples) noexcept nogil
    cdef i64 _change(self) noexcept nogil
    cdef void _change_back(self, i64 first) noexcept nogil
    cdef i64 _cost_from(self, i64 first, i64 most) noexcept nogil
    cdef i64 _least_scalar(self) noexcept nogil
    cdef i64 _more(self, i64 c, i64 left) noexcept nogil
    cdef i64 _schedule_from(self, i64 first, i64 late, i64 awake) noexcept nogil
    cdef void _log(self, i64 a, i64 k, i64 on) noexcept nogil
    cdef void _change_mode(self, i64 i, i64 g) noexcept nogil
    cdef void _give(self, i64 i, i64 g) noexcept nogil
    cdef void _want(self, i64 i, i64 t, i64 more) noexcept nogil
    cdef void _send(self, i64 i, i64 t, i64 more) noexcept nogil
    cdef void _enter(self, i64 k) noexcept nogil
    cdef void _leave(self, i64 k) noexcept nogil
    cdef i64 _renew(self, i64 i) noexcept nogil
    cdef i64 _overlooked(self, i64 i, i64 g) noexcept nogil
    cdef void _draw_near(self, i64 i) noexcept nogil
    cdef void _trade(self, i64 i, i64 source) noexcept nogil
    cdef i64 _any_there(self, i64 i, i64 k) noexcept nogil
    cdef i64 _neighbour(self, i64 i) noexcept nogil
    cdef i64 _place_near(self, i64 i, i64 at) noexcept nogil
    cdef void _shift(self, i64 at, i64 to) noexcept nogil
    cdef void _unsend(self) noexcept nogil
    cdef void _units(self) noexcept nogil
    cdef i64 _scalar(self) noexcept nogil
    cdef i64 _alone(self, i64 k) noexcept nogil
    cdef i64 _mode_there(self, i64 i, i64 k, i64 what) noexcept nogil
    cdef i64 _simple_mode(self, i64 i, i64 k) noexcept nogil
    cdef i64 _roll(self, i64 sides) noexcept nogil
    cdef void _order(self) noexcept nogil
    cpdef i64 root(self, i64 turns=*)
    cdef void _begin(self) noexcept nogil
    cdef i64 _root(self, i64 turns) noexcept nogil
    cdef i64 _may_be_less(self, i64 k, i64 turns) noexcept nogil
    cdef i64 _within(self, i64 k, i64 cap, i64 turns) noexcept nogil
    cdef i64 _price_alive(self) noexcept nogil
    cdef void _try_alone(self, i64 k) noexcept nogil
    cdef i64 _rivals(self, i64 k) noexcept nogil
    cdef i64 _may_win(self, i64 k) noexcept nogil
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
    cdef i64 _cut(self) noexcept nogil
    cdef void _fit_row(self, i64 row, i64 room) noexcept nogil
    cdef i64 _cut_lanes(self, i64 k) noexcept nogil
    cdef i64 _room(self, i64 k, i64 start, i64 stop) noexcept nogil
    cdef i64 _cut_memory(self, i64 k) noexcept nogil
    cdef i64 _cut_loss(self, i64 b) noexcept nogil
    cdef i64 _cut_path(self) noexcept nogil
    cdef i64 _delay(self, i64 g, i64 target) noexcept nogil
    cdef i64 _work_end(self, i64 k, i64 size) noexcept nogil
    cdef void _sort_work(self, i64 size) noexcept nogil
    cdef i64 _loads(self) noexcept nogil
    cdef void _order_pairs(self, i64 size) noexcept nogil
    cdef i64 _overloaded(self, i64 k, i64 size) noexcept nogil
