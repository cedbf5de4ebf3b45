# C types for waits.py.
from leo_runtime.dispatch.inflight cimport Stage


cdef class Patience:
    cdef bint _as_planned

    cpdef bint see(self, Stage stage) except -1
