# C types for kernel.py, as arrays.pxd is for arrays.py.
cimport cython
from leo_runtime.solver.search.arrays cimport i64, ints
from leo_runtime.solver.search.prices cimport Prices
from leo_runtime.solver.search.schedule cimport FAR

@cython.final
cdef class Kernel(Prices):
    cdef ints bound

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
