# C types for learning.py, as arrays.pxd is for arrays.py.
cimport cython
from leo_runtime.solver.search.arrays cimport i64, ints
from leo_runtime.solver.search.formulation cimport HEADER
from leo_runtime.solver.search.caps cimport Caps

cdef i64 STORE, BUMP, HIGH, KEPT

cdef class Learning(Caps):
    cdef i64 bump, crowded, current, failures, given_size, set_size, stamp
    cdef ints activity, cause, given, given_list, given_need, inside, level_seen, need, place, set_list

    cdef void _count_learning(self)
    cdef void _carve_learning(self)
    cdef void _learn_nothing(self) noexcept nogil
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
    cdef i64 _has_much(self) noexcept nogil
    cdef void _forget(self) noexcept nogil
    cdef void _keep_clauses(self, i64 levels, i64 since, i64 room) noexcept nogil
