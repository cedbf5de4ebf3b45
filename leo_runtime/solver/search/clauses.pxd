# C types for clauses.py, as arrays.pxd is for arrays.py.
from leo_runtime.solver.search.arrays cimport i64, ints
from leo_runtime.solver.search.formulation cimport CRITERIA
from leo_runtime.solver.search.kernel cimport Kernel
from leo_runtime.solver.search.lasting cimport Lasting
from leo_runtime.solver.search.schedule cimport FAR

cdef i64 VARIABLES, RESTART

cdef class ClauseSearch(Lasting):
    cdef object room
    cdef i64 aim, criteria, floor, guided, heat, limit_nodes, visited
    cdef ints answer_mode, answer_start, best_mode, best_result, halted, limit, objective, phase, proved

    cdef void _share_all(self, Kernel kernel)
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
    cdef i64 _luby(self, i64 run) noexcept nogil
    cdef i64 _cap_all(self) noexcept nogil
    cdef void _follow(self) noexcept nogil
    cdef i64 _choose_end(self) noexcept nogil
    cdef i64 _choose(self) noexcept nogil
    cdef i64 _choose_mode_or_order(self) noexcept nogil
    cdef i64 _mode_choice(self, i64 g) noexcept nogil
    cdef i64 _overlap(self, i64 t, i64 most) noexcept nogil
    cdef i64 _as_guided(self, i64 a, i64 b, i64 first) noexcept nogil
    cdef i64 _under_way(self, i64 b, i64 time) noexcept nogil
    cdef i64 _untangle(self, i64 size, i64 most) noexcept nogil
    cdef void _found(self) noexcept nogil
    cdef i64 _accept(self) noexcept nogil
