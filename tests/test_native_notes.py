"""Native libraries' notes stay away from standard error; what else they and others say does not."""

import os
import sys
import threading

import pytest

from leo_backends.native_notes import without_notes


def test_notes_are_left_out_and_all_else_comes_through(capfd):
    with without_notes():
        os.write(2, b"INFO: all is well\nERROR: not at all\nINFO: but\nhalf a line")
    os.write(2, b" and its end\n")
    assert capfd.readouterr().err == "ERROR: not at all\nhalf a line and its end\n"


def test_what_was_said_before_an_error_comes_through(capfd):
    with pytest.raises(ValueError, match="bad"), without_notes():
        os.write(2, b"WARNING: look out\n")
        raise ValueError("bad")
    assert capfd.readouterr().err == "WARNING: look out\n"


def test_threads_take_turns(capfd):
    def talk(name: str) -> None:
        for _ in range(50):
            with without_notes():
                os.write(2, f"INFO: {name}\n{name}\n".encode())

    threads = [threading.Thread(target=talk, args=(str(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(capfd.readouterr().err.split()) == sorted("0123" * 50)


def test_without_a_standard_error_nothing_is_held_back(monkeypatch):
    def dup(descriptor: int) -> int:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(os, "dup", dup)
    done = False
    with without_notes():
        done = True
    assert done


def test_without_room_nothing_is_held_back(capfd, monkeypatch):
    def no_room() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", no_room)
    with without_notes():
        sys.stderr.write("said\n")
        sys.stderr.flush()
    assert capfd.readouterr().err == "said\n"
