"""Kernels made ready before the first frame, on a thread that is left behind where one hangs."""

from __future__ import annotations

import threading

from leo_runtime.errors import KernelError
from leo_runtime.runtime.kernels import Kernels


def warm_within(kernels: Kernels, limit_us: int, stage: str, resource: str, variant: str) -> None:
    """As `Kernels.warm`, which is waited for at most so long; then its kernels are not used.

    Raises what that raises, and `KernelError` where it has not ended. From any thread.
    """
    raised: list[BaseException] = []
    # Of who warms and who gives up it is the first one's; the second takes note that what was given up came back.
    first = threading.Lock()

    def warm() -> None:
        try:
            kernels.warm(stage, resource, variant)
        except BaseException as error:  # Who waits for it is told.
            raised.append(error)
        end()

    def end() -> None:
        if not first.acquire(blocking=False):
            raised.clear()
            kernels.came_back(stage, resource, variant)

    thread = threading.Thread(target=warm, name="leo warm-up", daemon=True)
    thread.start()
    thread.join(limit_us / 1e6)
    if thread.is_alive():
        kernels.give_up(stage, resource, variant)
        end()
        raise KernelError(
            f"stage `{stage}` was not ready on `{resource}` after {limit_us / 1e6:g} s: it hangs as it is loaded, or "
            "in its first run, which is on zeros",
            hint="where it only takes long, run_limit=RunLimit(load_us=...)",
        )
    if raised:
        try:
            raise raised[0]
        finally:
            raised.clear()  # What is raised leads to this frame, and the frame must not lead back.
