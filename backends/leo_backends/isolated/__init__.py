"""Stages of the CPU in a process of their own: one that aborts, exits or hangs takes that process with it alone.

`IsolatedStages` is such a process and the next one when it has ended, `isolated.worker` what runs in it.
"""
