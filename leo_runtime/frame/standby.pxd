# C types for standby.py. Times and energies stay Python's integers, which have no limit.
cimport cython


cdef class StandbyMeter:
    cdef readonly object now_us, lasts_us
    cdef object _name, _standby
    cdef bint _sleeps
    cdef object _linger_us, _awake_mw, _awake_us, _last_frame
    cdef tuple _last_graphs
    cdef readonly list _kept, _wakes_us

    cpdef keep(self, kept)
    cpdef keep_alone(self, frame, release_us, until_us, tuple graphs, list entries)
    @cython.locals(charged=Py_ssize_t)
    cpdef settle(self, settled_us, list entries)
    cpdef end(self, last_us, list entries)
    cdef _woken_us(self, from_us)
    cdef _charge(self, frame, tuple graphs, from_us, until_us, used_us, list entries)
    @cython.locals(graphs=tuple)
    cdef _idle(self, until_us, list entries, bint is_whole)


cdef _entry(tuple values)
