# C types for windows.py, as arrays.pxd is for arrays.py.
from leo_runtime.solver.search.arrays cimport i64, ints
from leo_runtime.solver.search.expected cimport Expected

cdef class WindowSearch(Expected):
    cdef i64 _is_sent(self, i64 x) noexcept nogil
    cdef i64 _span_choice(self, i64 t, i64 a, i64 most) noexcept nogil
    cdef i64 _list_choice(self, i64 empty, i64 row, ints listed, i64 most) noexcept nogil
    cdef i64 _sent_at(self, i64 i, i64 t) noexcept nogil
