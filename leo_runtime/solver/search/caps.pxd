# C types for caps.py, as arrays.pxd is for arrays.py.
from leo_runtime.solver.search.arrays cimport i64, ints
from leo_runtime.solver.search.bounds cimport SCALE
from leo_runtime.solver.search.lanes cimport Lanes
from leo_runtime.solver.search.schedule cimport FAR

cdef class Caps(Lanes):
    cdef i64 _run_late(self) noexcept nogil
    cdef void _because_late(self, i64 but, i64 spare) noexcept nogil
    cdef void _because_cap(self, i64 c, i64 spare, i64 slope) noexcept nogil
    cdef i64 _run_row(self, i64 rule) noexcept nogil
    cdef void _because_row(self, i64 rule, i64 but, i64 spare) noexcept nogil
    cdef void _charge(self, i64 charged) noexcept nogil
    cdef i64 _with_sendings(self, i64 i, i64 g) noexcept nogil
    cdef i64 _staying(self, i64 t, i64 until) noexcept nogil
    cdef i64 _staying_at_most(self, i64 t, i64 cost) noexcept nogil
    cdef i64 _run_energy(self, i64 charged) noexcept nogil
    cdef i64 _energy_left(self, i64 charged) noexcept nogil
    cdef i64 _cap_resource(self, i64 t, i64 left) noexcept nogil
    cdef i64 _cap_sendings(self, i64 i, i64 left) noexcept nogil
    cdef void _because_sendings(self, i64 i, i64 g) noexcept nogil
    cdef i64 _waking(self, i64 t) noexcept nogil
    cdef void _because_asleep(self, i64 t) noexcept nogil
    cdef void _because_energy(self, i64 but, i64 but_awake, i64 spare) noexcept nogil
