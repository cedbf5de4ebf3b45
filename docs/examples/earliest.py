"""The event-driven policy of docs/studies.md: the earliest deadline first, wherever it ends first."""

from leo_runtime import Moment, Start, event_driven


@event_driven
def place(now: Moment) -> Start | None:
    """What is due first goes to where it ends first; if no lane is idle there it waits, and the next one is tried."""
    for stage in sorted(now.ready, key=lambda stage: stage.due_us or 0):
        option = min(stage.options, key=lambda option: option.end_us)
        if option.free_us <= now.time_us:
            return Start(stage, option)
    return None
