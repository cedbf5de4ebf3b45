"""Who else could have written what the daemon uses: by owners and permissions of files, and of the folders above."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

from leo_runtime.errors import InputError


def require_unwritable(path: Path, folder: Path, whose: str) -> None:
    """Raise `InputError` where just anybody could have put there what it holds; it lies in `folder`, or below."""
    while True:
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise InputError(f"{whose} uses {path}, which cannot be read ({error.strerror or error})") from None
        if mode & stat.S_IWOTH:
            raise InputError(f"{whose} uses {path}, which everybody may write", hint=f"chmod o-w {path}")
        if path == folder:
            break
        path = path.parent
    for above in folder.parents:  # In one that everybody may write to the folder could be exchanged.
        mode = above.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise InputError(
                f"{whose} uses {folder}, which everybody may exchange in {above}", hint=f"chmod o-w {above}"
            )


def require_program(program: Path, owners: Collection[int], whose: str) -> None:
    """Raise `InputError` where a program, or the file that it is a link to, is not of these users, or could be
    exchanged by everybody."""
    for one in dict.fromkeys((program, program.resolve())):
        try:
            uid = one.stat().st_uid
        except OSError as error:
            raise InputError(f"{whose} runs {one}, which cannot be read ({error.strerror or error})") from None
        if uid not in owners:
            raise InputError(
                f"{whose} runs {one} as the daemon's user, and it is of user {uid}, who may put anything there",
                hint=f"chown root {one}, or a copy of it that is root's, or the daemon's user's",
            )
        require_unwritable(one, one, whose)


def trusted_users(folder: Path) -> frozenset[int]:
    """Whose programs a config in that folder may have run: root's, the daemon's, and of whoever has the folder.

    Who may write the config can have any program run by it anyway.
    """
    # In a namespace of users that does not know root, the system's programs are of whoever has `/`.
    return frozenset((0, Path("/").stat().st_uid, os.geteuid(), folder.stat().st_uid))
