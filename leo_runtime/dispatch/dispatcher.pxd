# C types for dispatcher.py.
cimport cython

from leo_runtime.dispatch.inflight cimport Frame, Lane, Send, Stage, is_fed, occupies, planned_stage
from leo_runtime.dispatch.power cimport Power
from leo_runtime.dispatch.waits cimport Patience


cdef class Dispatcher:
    cdef Patience _patience
    cdef Power _power
    cdef readonly dict _lanes, _frames
    cdef dict _given_up, _abandoned
    cdef list _every_lane, _touched, _out, _loose
    cdef set _lost, _reminded
    cdef object _next_us, _log, _now_us, _limits, _health, _asking, _decisions
    cdef object _memory, _links, _remote
    cdef list _exits, _turns
    cdef object _shunned
    cdef dict _latest
    cdef public bint _everywhere
    cdef bint _hung

    @cython.locals(lane=Lane)
    cpdef tuple lanes_ready_us(self, resource, now_us, without=*)
    @cython.locals(power=Power)
    cpdef tuple standing(self, resource, now_us, without=*)
    cpdef bint is_running(self, frame, stage, attempt) except -1
    cpdef tuple handle(self, event)
    @cython.locals(frame=Frame, stage=Stage)
    cdef _admit(self, event)
    @cython.locals(frame=Frame, stage=Stage, reader=Stage, send=Send)
    cdef _stage_ended(self, event)
    @cython.locals(send=Send)
    cdef _send_ended(self, event)
    @cython.locals(frame=Frame, send=Send, reader=Stage)
    cdef _arrived(self, event)
    @cython.locals(send=Send)
    cdef _finish(self, Frame frame)
    @cython.locals(lanes=list, lane=Lane)
    cdef _advance(self)
    @cython.locals(lane=Lane, frame=Frame)
    cdef bint _start_first(self, list lanes) except -1
    cdef bint _may_start(self, job, Lane lane) except -1
    cpdef _touch(self, Lane lane)
    cdef bint _has_waited(self, Send send) except -1
    @cython.locals(frame=Frame)
    cdef _start(self, job)
    cdef bint _start_loose(self, Send send) except -1
    @cython.locals(lane=Lane)
    cpdef _queue(self, job)
    @cython.locals(lane=Lane)
    cpdef _unqueue(self, job)
    @cython.locals(lane=Lane)
    cdef _free(self, job)
    cpdef _remind(self, at_us)
    @cython.locals(frame=Frame, stage=Stage)
    cdef Stage _running(self, number, name, attempt)
    @cython.locals(frame=Frame)
    cdef Send _on_its_way(self, event)


@cython.locals(lane=Lane)
cdef bint _all_suspect(list lanes, now_us) except -1
