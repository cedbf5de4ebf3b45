"""The daemon as a whole, on a thread of the test: fed through its socket, heard on the other."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from daemons import CONFIG, LOUD, PATIENCE_S, QUIET, STEPS, WORKLOAD, Listener, Running, Systemd, Talk, running, write
from leo_runtime.daemon import delivering, service
from leo_runtime.daemon.answer import Answer
from leo_runtime.daemon.config import DaemonConfig
from leo_runtime.daemon.delivering import Delivering
from leo_runtime.daemon.run_state import RunState
from leo_runtime.daemon.service import Daemon
from leo_runtime.daemon.sinks.lines import RotatedFile
from leo_runtime.daemon.systemd import Notifier
from leo_runtime.errors import InputError


def test_what_is_fed_through_one_socket_is_answered_on_the_other(tmp_path: Path) -> None:
    with running(tmp_path) as one:
        talk = Talk(tmp_path)
        first, second = talk.ask(LOUD), talk.ask(QUIET)
        assert (first["graph"], first["stream"], first["outcome"], first["label"]) == ("loud", "s", "done", "loud")
        assert first["fired"] and first["score"] == 0.75 and first["values"] == [0.25, 0.75]
        assert first["energy_nj"] > 0 and first["latency_us"] > 0 and not first["late"]
        assert second["label"] is None and not second["fired"] and second["score"] == 0.0
        assert second["frame"] == first["frame"] + 2
        assert talk.sender.end() == {"samples": 499}
        one.end()
        assert talk.listener.next() is None
        counted = one.daemon.counts.now()
        assert counted.sources["socket"].samples == 499 and counted.sources["socket"].restarts == 0
        assert counted.frames == {"done": 4} and counted.answers == {("loud", "done"): 4}
        assert counted.sinks["socket"].given == counted.sinks["socket"].published == 4
    assert not (tmp_path / "in.sock").exists() and not (tmp_path / "out.sock").exists()


def test_every_listener_gets_every_answer_from_when_it_came(tmp_path: Path) -> None:
    with running(tmp_path):
        talk = Talk(tmp_path)
        talk.ask(LOUD)
        late = Listener(tmp_path / "out.sock")
        # It is only there once the daemon has taken it: what it hears begins with some answer, and none is missing.
        while (heard := late.try_next()) is None:
            talk.ask(LOUD)
        last = talk.ask(QUIET)
        all_heard = [heard]
        while all_heard[-1] != last:
            all_heard.append(late.next())
        frames = [one["frame"] for one in all_heard]
        assert frames == list(range(frames[0], last["frame"] + 1))


def test_a_decision_debounces(tmp_path: Path) -> None:
    config = CONFIG + '\n[[decisions]]\ngraph = "loud"\nthreshold = 0.7\nafter = 2\nof = 3\n'
    with running(tmp_path, config):
        talk, fired = Talk(tmp_path), []
        for level in (QUIET, LOUD, LOUD, QUIET, QUIET):
            last = talk.ask(level)
            fired += [talk.first["fired"], last["fired"]]
        assert 1 <= sum(fired) <= 2 and not any(fired[:3]) and not fired[-1]


# Reloads.


def reload(one: Running) -> str:
    one.daemon.reload()
    one.systemd.wait_for("RELOADING=1\nMONOTONIC_USEC=")
    return one.systemd.wait_for("READY=1")


def test_a_reload_goes_on_with_sockets_and_frames(tmp_path: Path) -> None:
    with running(tmp_path) as one:
        talk = Talk(tmp_path)
        talk.ask(LOUD)
        (tmp_path / "workload.toml").write_text(WORKLOAD.replace("threshold = 0.5", "threshold = 0.9"))
        assert "refused" not in reload(one)
        answer = talk.ask(LOUD)
        assert answer["label"] is None and answer["frame"] == 3
        assert one.daemon.counts.now().others["reloads"] == 1
        assert talk.sender.end() == {"samples": 499}


def test_a_reload_changes_sources_sinks_and_decisions(tmp_path: Path) -> None:
    with running(tmp_path) as one:
        talk = Talk(tmp_path)
        talk.ask(LOUD)
        config = CONFIG + '\n[[sinks]]\nkind = "lines"\npath = "answers.jsonl"\n'
        config += '\n[[decisions]]\ngraph = "loud"\nafter = 2\n'
        write(tmp_path, config)
        reload(one)
        fired = [talk.ask(LOUD)["fired"], talk.first["fired"]]
        assert sorted(fired) == [False, True]
        write(tmp_path, CONFIG)
        reload(one)
        assert talk.ask(LOUD)["fired"] and talk.first["fired"]
        one.end()
        lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
        assert [line["frame"] for line in lines] == [2, 3]


@pytest.mark.parametrize(
    ("file", "before", "after", "says"),
    [
        ("leo.toml", 'kind = "socket"', 'kind = "sockets"', "did you mean `socket`"),
        ("leo.toml", 'path = "./out.sock"', 'path = "./workload.toml"', "is no socket"),
        ("leo.toml", 'machine = "machine.toml"', 'machine = "arm-board"', "cannot change while the daemon runs"),
        ("workload.toml", "steps:level", "steps:levels", "no operator"),
        ("workload.toml", 'name = "s"', 'name = "t"', "no stream"),
        ("steps.py", "import numpy as np", "import nothing_there", "nothing_there"),
        ("leo.toml", 'solver = "greedy"', 'solver = "heft"', "`runtime` of the config cannot change"),
        ("leo.toml", 'state_dir = "state"', 'state_dir = "other"', "`state_dir` of the config cannot change"),
        ("machine.toml", "active_mw = 100", "active_mw = 101", "cannot change while the daemon runs"),
        ("profile.toml", "steps:level", "steps:other", "level"),
    ],
)
def test_a_reload_that_is_refused_leaves_what_runs(
    tmp_path: Path, file: str, before: str, after: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running(tmp_path) as one:
        talk = Talk(tmp_path)
        talk.ask(LOUD)
        right = (tmp_path / file).read_text()
        assert before in right
        (tmp_path / file).write_text(right.replace(before, after))
        assert "refused" in reload(one)
        assert says in caplog.text
        assert talk.ask(LOUD)["label"] == "loud"
        assert one.daemon.counts.now().others["reloads_refused"] == 1
        (tmp_path / file).write_text(right)
        assert "refused" not in reload(one)
        assert talk.ask(LOUD)["frame"] == 5


def test_a_reload_that_is_refused_leaves_sockets_where_they_are(tmp_path: Path) -> None:
    with running(tmp_path) as one:
        talk = Talk(tmp_path)
        changed = CONFIG.replace('path = "./out.sock"', 'path = "./out.sock"\nbehind_bytes = 8192')
        broken = STEPS.replace("    loud =", "    raise RuntimeError\n    loud =")
        write(tmp_path, changed.replace('path = "./in.sock"', 'path = "./in.sock"\nname = "other"'), broken)
        assert "refused" in reload(one)
        assert (tmp_path / "in.sock").is_socket() and (tmp_path / "out.sock").is_socket()
        talk.ask(LOUD)
        Talk(tmp_path).ask(LOUD)


def test_an_answer_that_is_told_during_a_reload_goes_to_a_sink_that_publishes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retired, end = threading.Event(), Delivering.end

    def ends(sink: Delivering) -> None:
        end(sink)
        sink.join(PATIENCE_S)
        retired.set()

    monkeypatch.setattr(Delivering, "end", ends)
    lines = CONFIG + '\n[[sinks]]\nkind = "lines"\npath = "answers.jsonl"\n'
    with running(tmp_path, lines) as one:
        write(tmp_path, lines + "keep = 7\n")

        def reloads(answer: Answer) -> None:
            if not answer.frame:
                one.daemon.reload()
                retired.wait(1.0)  # The sink of before must not go while this answer is on its way to it.

        one.daemon.observe(reloads)
        talk = Talk(tmp_path)
        talk.ask(LOUD)
        assert retired.wait(PATIENCE_S)
        talk.ask(LOUD)
        one.end()
        told = [json.loads(line)["frame"] for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
        counted = one.daemon.counts.now().sinks["lines"]
    assert sorted(told) == list(range(sum(one.daemon.counts.now().frames.values())))
    assert (counted.given, counted.dropped) == (counted.published, 0)


def test_what_waits_for_a_sink_of_before_is_published_as_the_daemon_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, publish = threading.Event(), RotatedFile.publish

    def published(file: RotatedFile, answer: Answer) -> None:
        if file.path.name == "full.jsonl" and one.daemon._stops == 0:
            full.set()
            raise OSError(28, "No space left on device")
        publish(file, answer)

    monkeypatch.setattr(RotatedFile, "publish", published)
    monkeypatch.setattr(delivering, "FIRST_WAIT_US", 500_000)
    with running(tmp_path, CONFIG + '\n[[sinks]]\nkind = "lines"\npath = "full.jsonl"\n') as one:
        Talk(tmp_path).ask(LOUD)
        assert full.wait(PATIENCE_S)
        write(tmp_path, CONFIG)
        assert "refused" not in reload(one)
        one.end()
        counted = one.daemon.counts.now()
    assert counted.sinks["lines"].published == sum(counted.frames.values()) >= 2
    assert len((tmp_path / "full.jsonl").read_text().splitlines()) == counted.sinks["lines"].published


def test_a_reload_that_goes_wrong_in_any_way_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RecursionError("of somebody's code")

    with running(tmp_path) as one:
        talk = Talk(tmp_path)
        monkeypatch.setattr(service, "load", fails)
        assert "refused: of somebody's code" in reload(one)
        assert talk.ask(LOUD)["label"] == "loud"


def test_an_edited_operator_is_read_again(tmp_path: Path) -> None:
    with running(tmp_path) as one:
        talk = Talk(tmp_path)
        assert talk.ask(LOUD)["score"] == 0.75
        (tmp_path / "steps.py").write_text(STEPS.replace("[1 - loud, loud]", "[loud, 1 - loud]"))
        assert "refused" not in reload(one)
        assert talk.ask(LOUD)["score"] == 0.25


# How it begins and ends.


def test_it_is_ready_and_tells_of_its_end(tmp_path: Path) -> None:
    with running(tmp_path) as one:
        assert one.systemd.heard[-1].startswith("READY=1\nSTATUS=1 source, 1 sink")
        one.daemon.stop()
        assert one.systemd.wait_for("STOPPING=1") == "STOPPING=1\nSTATUS=draining"


HANGS = STEPS.replace("    loud = ", "    signal.max() > 0.5 and (hangs.set(), let_go.wait())\n    loud = ").replace(
    "@operator", "import threading\nhangs, let_go = threading.Event(), threading.Event()\n\n@operator"
)
"""Hangs on what is loud."""


def steps_of(folder: Path) -> list[ModuleType]:
    """What was imported of the operators in a folder."""
    return [one for one in tuple(sys.modules.values()) if getattr(one, "__file__", None) == str(folder / "steps.py")]


def let_go(folder: Path) -> None:
    """End what hangs."""
    for module in steps_of(folder):
        module.let_go.set()


def hang(one: Running) -> None:
    """Have a frame of a daemon hang; those before it have ended."""
    talk = Talk(one.folder)
    talk.sender.send(np.full(300, LOUD, np.float32))
    (module,) = steps_of(one.folder)
    assert module.hangs.wait(PATIENCE_S)


def test_what_hangs_is_given_up_when_the_time_to_drain_is_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = CONFIG.replace("drain_s = 20", "drain_s = 0.2")
    with running(tmp_path, config, HANGS, WATCHDOG_USEC="40000") as one:
        hang(one)
        one.end()
        let_go(tmp_path)
        counted = one.daemon.counts.now()
    assert "frames were given up as the daemon ended" in caplog.text
    # Each has ended all the same, and was told.
    assert one.daemon.in_flight == 0 and counted.frames.keys() == {"failed"}
    assert counted.sinks["socket"].published == counted.frames["failed"]


def test_a_second_stop_ends_it_at_once(tmp_path: Path) -> None:
    with running(tmp_path, CONFIG.replace("drain_s = 20", "drain_s = 3600"), HANGS, WATCHDOG_USEC="40000") as one:
        hang(one)
        one.daemon.stop()
        one.systemd.wait_for("STOPPING=1")
        one.end()
        let_go(tmp_path)


def test_the_watchdog_is_not_told_while_frames_hang(tmp_path: Path) -> None:
    with running(tmp_path, CONFIG, HANGS, WATCHDOG_USEC="40000") as one:
        hang(one)
        quiet = 0
        for _ in range(500):  # What was under way as it began to hang may still be told.
            quiet = 0 if one.systemd.wait_for("") == "WATCHDOG=1" else quiet + 1
            if quiet == 20:
                break
        assert quiet == 20
        let_go(tmp_path)
        one.systemd.wait_for("WATCHDOG=1")


def test_it_ends_by_itself_with_its_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read, write_to = os.pipe()
    with os.fdopen(read) as stdin, os.fdopen(write_to, "wb") as out:
        monkeypatch.setattr("sys.stdin", stdin)
        config = CONFIG.replace('kind = "socket"\npath = "./in.sock"', 'kind = "stdin"\ndata_type = "float32"')
        with running(tmp_path, config) as one:
            out.write(np.zeros(1000, np.float32).tobytes())
            out.close()
            one.join()
            counted = one.daemon.counts.now()
    assert counted.sources["stdin"].ended and counted.sources["stdin"].samples == 1000
    assert sum(counted.frames.values()) > 0 and one.daemon.in_flight == 0


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, CONFIG.replace("./out.sock", "./workload.toml"))
    with pytest.raises(InputError, match=r"sink `socket`: .*is no socket, and would be lost"):
        Running(tmp_path, path).join()
    assert (tmp_path / "workload.toml").read_text() == WORKLOAD
    assert not (tmp_path / "in.sock").exists()


def test_a_start_that_fails_leaves_what_is_known_of_the_last_run(tmp_path: Path) -> None:
    state = RunState(tmp_path / "state" / "leo.run")
    state.note(taken=9, answered=4)
    state.close(clean=False)
    path = write(tmp_path, CONFIG.replace("./out.sock", "./workload.toml"))
    for _ in range(2):
        with pytest.raises(InputError, match="would be lost"):
            Running(tmp_path, path).join()
    with running(tmp_path) as one:
        last = one.daemon.state.last
        assert last is not None and (last.clean, last.frames, last.lost_frames) == (False, 9, 5)


def test_two_daemons_do_not_share_a_state(tmp_path: Path) -> None:
    with running(tmp_path), pytest.raises(InputError, match="another daemon runs with it"):
        (tmp_path / "b").mkdir()
        path = write(tmp_path / "b", CONFIG.replace('"state"', f'"{tmp_path / "state"}"'))
        Running(tmp_path / "b", path).join()


def test_a_state_that_cannot_be_written_is_told_and_no_reason_to_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("a file")
    with running(tmp_path):
        assert Talk(tmp_path).ask(LOUD)["label"] == "loud"
    assert "is not kept" in caplog.text


def test_a_restart_says_what_became_of_the_last_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(tmp_path) as one:
        Talk(tmp_path).ask(LOUD)
        one.end()
    with running(tmp_path) as one:
        last = one.daemon.state.last
        assert last is not None and last.clean and last.frames == 2 and last.lost_frames == 0
        assert one.daemon.counts.now().others["last_run_lost_frames"] == 0


# The watchdog.


def test_the_watchdog_is_told_while_there_is_nothing_to_do(tmp_path: Path) -> None:
    with running(tmp_path, WATCHDOG_USEC="40000") as one:
        one.systemd.wait_for("WATCHDOG=1")
        one.systemd.wait_for("WATCHDOG=1")


def test_what_is_told_is_one_line(tmp_path: Path) -> None:
    heard = Systemd(tmp_path)
    Notifier({"NOTIFY_SOCKET": str(heard.path)}).ready("refused: a\nREADY=0")
    assert heard.wait_for("READY") == "READY=1\nSTATUS=refused: a\\nREADY=0"
    heard.close()


def test_it_is_counted_that_systemd_could_not_be_told(tmp_path: Path) -> None:
    config = DaemonConfig.from_file(write(tmp_path))
    daemon = Daemon(lambda: config, tmp_path, environment={"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    daemon.notifier.alive()
    assert daemon.counts.now().others == {"systemd_not_told": 1}


def test_the_watchdog_is_not_told_of_another_process(tmp_path: Path) -> None:
    assert Notifier({"WATCHDOG_USEC": "40000", "WATCHDOG_PID": "1"}).watchdog_s is None
    assert Notifier({"WATCHDOG_USEC": "x"}).watchdog_s is None


def test_what_systemd_has_to_know_waits_until_it_can_hear_it(tmp_path: Path) -> None:
    heard, untold = Systemd(tmp_path), threading.Semaphore(0)
    told = Notifier({"NOTIFY_SOCKET": str(heard.path)}, untold.release)
    while not untold.acquire(blocking=False):  # Until no more fits.
        told.alive()
    stopping = threading.Thread(target=told.stopping, args=("draining",))
    stopping.start()
    heard.wait_for("STOPPING=1")
    stopping.join(PATIENCE_S)
    assert not untold.acquire(blocking=False)
    heard.close()
