# C types for power.py.
cimport cython

from leo_runtime.dispatch.inflight cimport Frame, FrameSpan, Lane, Supply
from leo_runtime.dispatch.waits cimport Patience


cdef class Power:
    cdef Patience _patience
    cdef object _tell, _remind, _touch
    cdef dict _supplies
    cdef list _to_wake, _held, _may_sleep
    cdef bint _unsettled

    @cython.locals(supply=Supply)
    cpdef bint sleeps(self, resource) except -1
    @cython.locals(supply=Supply)
    cpdef waking_until_us(self, resource)
    @cython.locals(supply=Supply)
    cpdef used_until_us(self, resource)
    cpdef bint in_use(self, resource) except -1
    @cython.locals(span=FrameSpan, supply=Supply)
    cpdef sleepers(self, linger_us, release_us)
    @cython.locals(supply=Supply)
    cpdef wake_alone(self, resource, at_us)
    @cython.locals(supply=Supply, here=dict)
    cpdef plan(self, Frame frame, plan, only, now_us)
    @cython.locals(span=FrameSpan)
    cpdef leave(self, job, now_us)
    cpdef use(self, resource, at_us)
    @cython.locals(span=FrameSpan, supply=Supply)
    cpdef bint may_start(self, job, now_us) except -1
    @cython.locals(supply=Supply, span=FrameSpan)
    cpdef advance(self, now_us)
    @cython.locals(supply=Supply)
    cpdef settle(self)
    cdef _use(self, Supply supply, at_us)
    @cython.locals(frame=Frame, supply=Supply)
    cdef _begin(self, FrameSpan span, planned, now_us)
    @cython.locals(lane=Lane)
    cdef _open_up(self, FrameSpan span, at_us)
    @cython.locals(span=FrameSpan)
    cdef _wake(self, Frame frame, Supply supply, now_us)
    cdef bint _wake_due(self, FrameSpan span, now_us) except -1
    @cython.locals(frame=Frame)
    cdef _opens_us(self, FrameSpan span, planned)
    @cython.locals(supply=Supply)
    cdef _close(self, FrameSpan span, now_us)
    cdef _held_for(self, Supply supply, until_us, awake_us)
    cdef _sleep_if_lingered(self, Supply supply, now_us)


cdef bint _in_use(Supply supply) except -1
cdef bint _would_sleep(Supply supply, at_us) except -1
