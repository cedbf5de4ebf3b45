# C types for inflight.py, of each class in the order of its fields, which is that of what makes one.
# Times and counts stay Python's integers, which have no limit; names may be any text.
cimport cython


cdef class Frame:
    cdef public object number, release_us, give_up_us, plan
    cdef public dict stages, sends
    cdef public list spans, awake, wakes
    cdef public object waits_given_up, admitted_us
    cdef public set gates
    cdef public bint windowed
    cdef public list past, sends_lost
    cdef public long long open
    cdef public bint reduced, started, skipped
    cdef public long long serial
    cdef public object limit_us, memory
    cdef public dict loads

    cpdef job(self, use)


cdef class Stage:
    cdef public Frame frame
    cdef public object name, planned
    cdef public tuple key
    cdef public object resource, lane, mode, variant, duration_us, release_us
    cdef public tuple use
    cdef public object state, attempt
    cdef public bint moved
    cdef public object report, start_us, end_us, error
    cdef public FrameSpan span
    cdef public bint is_gone

    cpdef record(self)


cdef class Send:
    cdef public Frame frame
    cdef public Stage stage
    cdef public object link, lane
    cdef public tuple key
    cdef public object planned_us, bytes, sending_us, wait, state, start_us, sent_us, arrive_us
    cdef public FrameSpan span


cdef class FrameSpan:
    cdef public Frame frame
    cdef public Supply supply
    cdef public dict jobs
    cdef public object planned, due_us, hold_until_us
    cdef public bint is_open
    cdef public object from_us


cdef class GivenUp:
    cdef public object start_us, planned_us, mode


cdef class Supply:
    cdef public object resource
    cdef public list lanes
    cdef public object used_us, state, woken_us, linger_us
    cdef public bint is_windowed
    cdef public list open
    cdef public object held_until_us
    cdef public bint is_told

    @cython.locals(lane=Lane)
    cpdef bint is_busy(self) except -1


cdef class Lane:
    cdef public object resource, index, ready_us, number
    cdef public list queue
    cdef public object busy
    cdef public GivenUp given_up
    cdef public bint is_touched
    cdef public object ended_us

    cpdef free_us(self, now_us, without=*)
    cpdef bint is_suspect(self, now_us) except -1


cpdef Stage planned_stage(Frame frame, name, planned, index)
@cython.locals(frame=Frame, source=Stage, send=Send)
cpdef bint is_fed(Stage stage) except -1
cpdef bint occupies(Send send) except -1
