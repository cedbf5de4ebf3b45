# C types for lanes.py, as arrays.pxd is for arrays.py.
from leo_runtime.solver.search.arrays cimport i64, ints
from leo_runtime.solver.search.propagation cimport Propagation
from leo_runtime.solver.search.schedule cimport FAR

cdef class Lanes(Propagation):
    cdef i64 _run_lanes(self, i64 t) noexcept nogil
    cdef i64 _sure_at(self, i64 a, i64 time) noexcept nogil
    cdef void _because_sure(self, i64 a, i64 time, i64 end) noexcept nogil
    cdef i64 _push_out(self, i64 t, i64 time, i64 sure) noexcept nogil
    cdef i64 _run_load(self, i64 t) noexcept nogil
    cdef i64 _latest_end(self, i64 a) noexcept nogil
    cdef void _because_loaded(self, i64 t, i64 last, i64 stop, i64 spare) noexcept nogil
