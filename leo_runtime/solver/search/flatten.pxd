# C types for flatten.py. What is written is 64-bit; what the worst case is counted from (`object`) has no limit.
cimport cython

ctypedef long long i64

cdef i64 SAFE

cdef dict values_of(document)
@cython.locals(values=list, one=dict, position=dict, missing=list, readers=list, turn=list, ready=list)
cpdef list topological(stages)

@cython.final
cdef class Page:
    cdef readonly object data
    cdef readonly i64 size
    cdef i64[::1] out
    cdef i64 at

    cdef inline void put(self, i64 value) noexcept
    @cython.locals(at=i64, most=i64)
    cdef i64 most(self, i64 count) noexcept
    @cython.locals(at=i64, total=i64)
    cdef i64 sum(self, i64 count) noexcept

@cython.final
cdef class Stages:
    cdef Page page
    cdef readonly object documents
    cdef readonly list names, costs
    cdef i64 n, inputs, modes, most_modes, deadlines, budgets, members, first_mode
    cdef list values
    cdef dict position
    cdef object release, duration, energy, output, rest, due, weight

    @cython.locals(values=dict)
    cdef bint _in_order(self) except -1
    @cython.locals(values=dict, first=i64)
    cdef _put_inputs(self)
    @cython.locals(values=dict, cost=dict, at=i64, first=i64, count=i64)
    cdef _put_modes(self, dict number)
    cdef _put_deadlines(self, deadlines)
    @cython.locals(first=i64)
    cdef _put_budgets(self, budgets)
    cdef _put_criteria(self, problem)
    @cython.locals(at=i64, count=i64)
    cdef i64 users(self, i64 resource) noexcept

@cython.final
cdef class Flat:
    cdef readonly Page page
    cdef readonly object name
    cdef readonly list resources, lane_numbers
    cdef readonly Stages stages
    cdef readonly bint wide
    cdef list lane_first, ready
    cdef dict number
    cdef object latency, slowest, nj, pj

    @cython.locals(values=dict)
    cdef _choose_lanes(self, list resources, set occupied)
    cdef _put_sizes(self)
    @cython.locals(values=dict)
    cdef _put_resources(self, list resources)
    @cython.locals(values=dict, first=i64, r=i64, pair=i64)
    cdef _put_links(self, list links)
    @cython.locals(at=i64, latency=i64, slowest=i64, rate=i64, nj=i64, pj=i64)
    cdef _measure_links(self, i64 pairs)
    @cython.locals(at=i64)
    cdef void _put_stages(self) noexcept
    @cython.locals(values=dict)
    cdef _worst_case(self, list resources)
