# C types for alone_frames.py.
cimport cython

from leo_runtime.dispatch.alone cimport AloneTimes
from leo_runtime.frame.standby cimport StandbyMeter


cdef class AloneFrames:
    cdef object _summary, _ledger
    cdef dict _known, _sums
    cdef list _entries
    cdef Py_ssize_t _unsettled

    @cython.locals(
        use=list, sums=list, ends_us=list, used_until_us=list, entries=list, at=Py_ssize_t, used=Py_ssize_t,
        meter=StandbyMeter,
    )
    cpdef add(self, frame, release_us, plan, AloneTimes times)
    cpdef end(self)
    cdef _settle(self, release_us)
    cdef list _sums_of(self, key)


cdef _add(list sums, nj)
