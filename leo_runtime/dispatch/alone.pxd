# C types for alone.py. Times stay Python's integers, which have no limit.
cimport cython


cdef class AloneTimes:
    cdef readonly object lasts_us
    cdef readonly list starts_us, ends_us
    cdef readonly object last_us
    cdef readonly list used_until_us, woken


cdef class AlonePlan:
    cdef readonly tuple runs, modes, sends, uses, wakes, steps
    cdef readonly Py_ssize_t lanes
    cdef readonly tuple lasts_us

    @cython.locals(at=Py_ssize_t)
    cpdef list noisy_us(self, noise, frame)
    @cython.locals(
        free_us=list, starts_us=list, ends_us=list, there_us=list, sleeping=list, woken=dict, waits=tuple,
        at=Py_ssize_t, lane=Py_ssize_t, used=Py_ssize_t, before=Py_ssize_t,
    )
    cpdef AloneTimes times(self, release_us, lasts_us, asleep)
    cpdef bint noted(self, limits, lasts_us) except -1


@cython.locals(piece=Py_ssize_t)
cdef _latest_us(tuple pieces, list ends_us)
