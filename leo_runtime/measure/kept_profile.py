"""This machine's own profile, measured once and kept in a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from leo_runtime.backend.machine import open_backends
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.errors import InputError
from leo_runtime.measure import calibrate, measure
from leo_runtime.measure.energy import whole_machine
from leo_runtime.progress import Progress
from leo_runtime.recordings.recording import Recording


def kept_or_measured(
    path: Path,
    workload: Workload,
    hardware: Hardware,
    recording: Recording,
    *,
    tell: Callable[[str], None],
    progress: Progress = lambda *_: None,
) -> Profile:
    """The profile in that file, where it is of this device and has all of the workload; else measured, and kept there.

    `tell` is told why it is measured again, and what could not be. Raises what `calibrate` raises.
    """
    if path.exists():
        try:
            profile = Profile.from_file(path)
            _require_ours(profile, workload, hardware)
            return profile
        except InputError as error:
            tell(f"{error}; measuring again")
    found = calibrate.calibrate(
        workload, hardware, recording, effort=measure.QUICK, sources=whole_machine(), progress=progress
    )
    for what, why in found.missing:
        tell(f"not measured: {what}: {why}")
    found.profile.to_file(path)
    return found.profile


def _require_ours(profile: Profile, workload: Workload, hardware: Hardware) -> None:
    """Raise `ProfileError` for a profile of another device, or one that lacks a stage of the workload."""
    with open_backends(hardware) as machine:
        calibrate.require_device(profile, calibrate.this_device(machine.backends))
        calibrate.require_measured(profile, workload, machine.backends)
