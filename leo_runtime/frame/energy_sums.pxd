# C types for energy_sums.py. Energies stay Python's integers, which have no limit.
cimport cython


cdef class EnergySums:
    cdef dict _of

    @cython.locals(of=dict, key=tuple, sums=list)
    cpdef add(self, entries)
