# C types for arrays.py. `i64` is every quantity and index; arrays are pointers into one block of memory.
ctypedef long long i64
ctypedef i64* ints

cdef class Arrays:
    cdef i64[::1] block
    cdef i64 at, measuring

    cdef void _carve_all(self)
    cdef i64 _measure_room(self) except -1
    cdef void _settle_in(self, block) except *
    cdef ints _take(self, i64 count) except? NULL
