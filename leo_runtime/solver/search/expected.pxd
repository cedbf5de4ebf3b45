# C types for expected.py, as arrays.pxd is for arrays.py.
from leo_runtime.solver.search.arrays cimport i64, ints
from leo_runtime.solver.search.openings cimport CERTAIN, Openings
from leo_runtime.solver.search.schedule cimport FAR

cdef class Expected(Openings):
    cdef i64 _listed_chance(self, i64 empty, i64 row, ints listed, i64 otherwise) noexcept nogil
    cdef void _because_listed(self, i64 empty, i64 row, ints listed, i64 otherwise) noexcept nogil
    cdef i64 _send_chance(self, i64 x) noexcept nogil
    cdef i64 _span_chance(self, i64 k) noexcept nogil
    cdef i64 _span_nj(self, i64 t, i64 k, i64 until) noexcept nogil
    cdef i64 _unused_nj(self, i64 t, i64 k) noexcept nogil
    cdef i64 _span_until_low(self, i64 t, i64 k) noexcept nogil
    cdef i64 _span_now(self, i64 t, i64 k) noexcept nogil
    cdef i64 _with_lists(self, i64 i, i64 g) noexcept nogil
    cdef void _because_lists(self, i64 i, i64 g) noexcept nogil
    cdef i64 _window_left(self) noexcept nogil
    cdef i64 _cap_span(self, i64 t, i64 k, i64 left) noexcept nogil
    cdef i64 _cap_list(self, i64 t, i64 k, i64 left, i64 nj, i64 now) noexcept nogil
    cdef i64 _latest_until(self, i64 t, i64 k, i64 low, i64 chance, i64 room) noexcept nogil
    cdef void _because_length(self, i64 k, i64 low, i64 t) noexcept nogil
    cdef i64 _because_span(self, i64 t, i64 k, i64 used, i64 spare) noexcept nogil
    cdef i64 _cap_transfers(self, i64 i, i64 left) noexcept nogil
    cdef i64 _cap_wanted(self, i64 i, i64 t, i64 left) noexcept nogil
    cdef i64 _cap_waiting(self, i64 i, i64 t, i64 left) noexcept nogil
    cdef void _because_window(self, i64 but, i64 but_span, i64 spare) noexcept nogil
