# C types for prices.py, as arrays.pxd is for arrays.py.
cimport cython
from leo_runtime.solver.search.arrays cimport i64, ints
from leo_runtime.solver.search.bounds cimport SCALE, Bounds
from leo_runtime.solver.search.schedule cimport FAR

cdef i64 ROWS, CUTS, STEPS, ROOM, LONGEST, SWEEPS, ABSENT

cdef class Prices(Bounds):
    cdef i64 price_base, price_top, rows
    cdef ints least_share, parent, path_end, pick, read_by, row_awake, row_best, row_over, row_price, row_room
    cdef ints row_take, sent_by, there

    cdef void _carve_prices(self)
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
    cdef i64 _cut_memory(self, i64 k) noexcept nogil
    cdef i64 _cut_loss(self, i64 b) noexcept nogil
    cdef i64 _cut_path(self) noexcept nogil
    cdef i64 _delay(self, i64 g, i64 target) noexcept nogil
