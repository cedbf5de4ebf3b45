"""Studies run by several processes: whoever dies or hangs, the others go on, and rows are what they are."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Generator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from leo_runtime import cli
from leo_runtime.errors import DocumentError, LeoError, MissingExtraError
from leo_runtime.report.study_tables import write_rows
from leo_runtime.study import running, workers
from leo_runtime.study.document import Study
from leo_runtime.study.outcome import Outcome
from leo_runtime.study.running import Runner
from leo_runtime.study.store import Failure, Store
from leo_runtime.version import VERSION
from small_studies import STUDY, write_study

POLICIES = """import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event

from leo_runtime import solve

HERE = Path(__file__).parent


def once(name):
    try:
        (HERE / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def dies_once(problem):
    if once("died"):
        os.kill(os.getpid(), signal.SIGKILL)
    return solve(problem, "greedy")


def ends_all(problem):
    if (HERE / "armed").exists() and once("ended"):
        os.kill(os.getppid(), signal.SIGKILL)
        Event().wait()
    return solve(problem, "greedy")


def interrupts(problem):
    os.kill(os.getppid(), signal.SIGINT)
    Event().wait()


def kills(problem):
    os.kill(os.getpid(), signal.SIGKILL)


def forks(problem):
    with (HERE / "alive").open("wb", buffering=0) as alive:
        subprocess.Popen(["sleep", "600"], stdout=alive)
        alive.write(b"y")
    Event().wait()


def exits(problem):
    sys.exit(3)


def hangs(problem):
    Event().wait()


def raises(problem):
    raise ValueError("no idea")


def tired(problem):
    raise MemoryError


def prints(problem):
    print("hello")
    return solve(problem, "greedy")


def late(problem):
    answer = solve(problem, "greedy")
    moved = tuple(run.model_copy(update={"lane": 7}) for run in answer.stages)
    return answer.model_copy(update={"stages": moved})


def ten_lines(problem):
    return solve(problem, "cpu-only")
"""


def run(path: Path, run_cells: Runner, name: str = "rows", *, again: bool = False) -> tuple[list[str], dict[int, str]]:
    """The rows that are there then, as they are kept, and what failed, by the cell's number."""
    planned = running.plan(Study.from_file(path), path.parent)
    with Store(path.parent / f"{name}.sqlite") as store:
        running.run(planned, store, run_cells, again=again)
        kept = store.rows(planned.inputs)
        failed = running.status(planned, store).failed
    rows = [kept[inputs] for inputs in planned.inputs if inputs in kept]
    return rows, {number: one.cause for number, one in failed.items()}


def with_policies(folder: Path, *names: str, more: str = "") -> Path:
    (folder / "mine.py").write_text(POLICIES)
    solvers = ", ".join(f'"{name}"' for name in names)
    return write_study(folder, more + STUDY.replace('"exact", "greedy"', solvers))


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "leo_runtime", *arguments]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120)


def test_one_process_and_two_give_the_same_rows(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    here, failed = run(path, workers.run_here, "here")
    assert len(here) == 8 and not failed
    two, failed = run(path, running.runner(2), "two")
    assert two == here and not failed


VARIED = 'vary = "graphs.eyes.deadline_us"\nvalues = [4_000, 20_000]'
CHANGES = 'changes = ["graphs.eyes.deadline_us=16_000"]'
SAME = f'choices = [{{ name = "a", {CHANGES} }}, {{ name = "b", {CHANGES} }}]'


def test_only_what_is_missing_is_run(tmp_path: Path) -> None:
    path, asked = write_study(tmp_path), list[list[int]]()

    def counted(job: workers.Job, numbers: Sequence[int]) -> Generator[Outcome, None, None]:
        asked.append(list(numbers))
        return workers.run_here(job, numbers)

    first, _ = run(path, counted)
    assert asked == [list(range(8))]
    assert run(path, counted)[0] == first and len(asked) == 1
    path.write_text(STUDY.replace("[4_000, 20_000]", "[4_000, 8_000, 20_000]"))
    assert len(run(path, counted)[0]) == 12 and asked[1] == [1, 4, 7, 10]
    # Cells that are the same are run once, and each has its row.
    path.write_text(STUDY.replace(VARIED, SAME))
    assert len(run(path, counted)[0]) == 8 and asked[2] == [0, 2, 4, 6]


@pytest.mark.once
def test_after_everything_was_killed_the_rest_is_run(tmp_path: Path) -> None:
    path = with_policies(tmp_path, "greedy", "mine:ends_all")
    whole, _ = run(path, workers.run_here, "whole")
    (tmp_path / "armed").touch()
    killed = command(tmp_path, "study", "run", path.name, "--jobs", "1")
    assert killed.returncode == -signal.SIGKILL
    with Store(tmp_path / "out" / "blinks.study.sqlite") as store:
        planned = running.plan(Study.from_file(path), tmp_path)
        before = store.rows(planned.inputs)
        assert list(before.values()) == whole[:2]  # What had ended was kept.
    again = command(tmp_path, "study", "run", path.name, "--jobs", "2")
    assert again.returncode == 0, again.stderr
    assert "8 of 8 cells are done, 0 failed, 0 are missing" in again.stderr
    with Store(tmp_path / "out" / "blinks.study.sqlite") as store:
        kept = store.rows(planned.inputs)
    assert [kept[inputs] for inputs in planned.inputs] == whole


def test_what_was_changed_meanwhile_is_told_and_not_kept(tmp_path: Path) -> None:
    path, told = write_study(tmp_path), list[str]()
    planned = running.plan(Study.from_file(path), tmp_path)
    profile = tmp_path / "band.profile.toml"
    profile.write_text(profile.read_text().replace("9_000", "9_001"))
    with Store(tmp_path / "rows.sqlite") as store:
        running.run(planned, store, workers.run_here, failed=lambda _, failure: told.append(failure.cause))
        assert told == [running.CHANGED] * 8
        assert (running.status(planned, store).missing, store.rows(planned.inputs)) == (8, {})


def test_who_interrupts_it_is_told_how_far_it_is(tmp_path: Path) -> None:
    path = with_policies(tmp_path, "greedy", "mine:interrupts")
    stopped = command(tmp_path, "study", "run", path.name, "--jobs", "1")
    assert stopped.returncode == 130
    assert "2 of 8 cells are done, 0 failed, 6 are missing" in stopped.stderr and "Traceback" not in stopped.stderr


def test_a_worker_that_somebody_ends_costs_no_cell(tmp_path: Path) -> None:
    rows, failed = run(with_policies(tmp_path, "greedy", "mine:dies_once"), running.runner(2))
    assert len(rows) == 8 and not failed and (tmp_path / "died").exists()


def test_what_goes_wrong_in_a_cell_is_told_by_name_and_the_others_go_on(tmp_path: Path) -> None:
    names = ("greedy", "mine:kills", "mine:exits", "mine:raises", "mine:tired", "mine:late", "mine:prints")
    path = with_policies(tmp_path, *names)
    path.write_text(path.read_text().replace("repetitions = 2", "").replace("4_000, ", ""))
    rows, failed = run(path, running.runner(2))
    assert len(rows) == 2
    assert failed[1] == "its worker died 2 times: it was ended by SIGKILL"
    assert failed[2] == "it ended its process (SystemExit: 3)"
    assert re.fullmatch(r"the solver `mine:raises` raised ValueError: no idea.*", failed[3])
    assert "MemoryError" in failed[4]
    assert failed[5].startswith("the answer of the solver `mine:late` is wrong: rule ")
    assert failed[5].endswith(" (question 1 of the run)")
    assert list(failed) == [1, 2, 3, 4, 5]
    # They are not tried again, unless that is asked for.
    assert run(path, lambda *_: pytest.fail("nothing is left")) == (rows, failed)


def test_a_cell_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    path = with_policies(tmp_path, "mine:hangs")
    text = path.read_text().replace("repetitions = 2", "limit_seconds = 0.05").replace("4_000, ", "")
    path.write_text(text)
    _, failed = run(path, running.runner(1))
    assert failed == {0: "it took longer than 0.05 s, and was ended"}


def test_what_has_failed_is_run_again_if_that_is_asked_for(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    planned = running.plan(Study.from_file(path), tmp_path)
    with Store(tmp_path / "rows.sqlite") as store:
        store.fail(planned.inputs[0], Failure("0", "somebody pulled the plug"))
    rows, failed = run(path, workers.run_here)
    assert len(rows) == 7 and failed == {0: "somebody pulled the plug"}
    rows, failed = run(path, workers.run_here, again=True)
    assert len(rows) == 8 and not failed


def test_without_a_python_to_start_cells_run_in_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.spawn.get_executable", lambda: None)
    assert workers.python() is None and running.runner(2) is workers.run_here
    monkeypatch.undo()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert workers.python() is None


def test_a_worker_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    job = workers.Job(Study.from_file(path), tmp_path)
    with pytest.raises(LeoError, match="a worker cannot be started"):
        workers.Worker(job, str(tmp_path / "no-python"))
    with pytest.raises(LeoError, match="ended before it could be asked anything: its process ended with status 1"):
        workers.Worker(job, "/bin/false")


def test_the_command_tells_how_far_a_study_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with_policies(tmp_path, "exact", "greedy")
    study = "blinks.study.toml"

    def told(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(["study", *arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    assert told("check", study)[:2] == (
        0,
        "blinks: 8 cells, 8 of them different\naxes: solver (2) x deadline (2); grid; 2 repetitions\n",
    )
    assert told("status", study)[:2] == (0, "8 cells: 0 done, 0 failed, 8 missing\n")
    assert told("export", study, "--to", "rows.csv")[0] == 2
    status, out, err = told("run", study, "--jobs", "0")
    assert status == 0 and "8 of 8 cells are done" in err
    assert out.startswith("energy_nj, in mJ, the mean over repetitions\n\nsolver  deadline=4000  deadline=20000\n")
    assert told("status", study, "--json")[1].startswith('{\n "cells": 8,\n "done": 8')
    assert told("show", study, "--column", "misses", "--over", "deadline", "--csv", "map.csv")[0] == 0
    assert Path("map.csv").read_text().startswith("deadline,misses\n4000,")
    assert told("export", study, "--to", "rows.csv")[1] == "written: rows.csv\nwritten: rows.times.csv\n"
    lines = Path("rows.csv").read_text().splitlines()
    assert len(lines) == 9 and lines[0].startswith("study,cell,repetition,axis.solver,axis.deadline,inputs,")
    assert told("show", study, "--column", "enery_nj")[0] == 2
    assert told("show", study, "--column", "solver")[2].startswith("column `solver` holds no numbers: 'exact'")
    assert told("show", study, "--over", "dedline")[0] == 2
    assert told("export", study, "--to", "rows.xls")[2].startswith("rows.xls: ends in none of .csv, .parquet")
    # A policy of one's own beside `exact`, in one command.
    status, out, _ = told("run", study, "--solver", "exact,mine:ten_lines", "--jobs", "0")
    assert status == 0 and "mine:ten_lines" in out
    status, _, err = told("run", study, "--solver", "exact,mine:late", "--jobs", "0")
    assert status == 1 and "cell 2: solver=mine:late, deadline=4000, repetition 0: the answer of the solver" in err
    assert told("status", study, "--solver", "exact,mine:late")[:2] == (1, "8 cells: 4 done, 4 failed, 0 missing\n")


def test_a_file_that_is_no_store_is_refused_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "rows.sqlite"
    for content in (b"hello", b"SQLite format 3\0" + bytes(range(200)) * 30):
        file.write_bytes(content)
        with pytest.raises(DocumentError, match="cannot be used as the rows of a study"):
            Store(file)
        assert file.read_bytes() == content
    file.unlink()
    other = sqlite3.connect(file)
    other.executescript("CREATE TABLE about (format TEXT); INSERT INTO about VALUES ('leo-study-rows/2')")
    other.close()
    with pytest.raises(DocumentError, match="its format is leo-study-rows/2"):
        Store(file)


def test_rows_are_read_as_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="tables: pyarrow", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path)
    assert cli.main(["study", "run", "blinks.study.toml", "--jobs", "0"]) == 0
    assert cli.main(["study", "export", "blinks.study.toml", "--to", "rows.parquet"]) == 0
    first = (tmp_path / "rows.parquet").read_bytes()
    table = parquet.read_table("rows.parquet").to_pylist()
    assert [row["axis.deadline"] for row in table] == [4_000, 20_000] * 4
    assert cli.main(["study", "export", "blinks.study.toml", "--to", "rows.parquet"]) == 0
    assert (tmp_path / "rows.parquet").read_bytes() == first
    duckdb = pytest.importorskip("duckdb", reason="tables-readers: duckdb", exc_type=ImportError)
    found = duckdb.sql(
        "SELECT \"axis.solver\", avg(energy_nj) FROM 'rows.parquet' GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert [name for name, _ in found] == ["exact", "greedy"]


def test_a_cluster_that_loses_a_worker_gives_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed", reason="study: distributed", exc_type=ImportError)
    from leo_runtime.study import cluster

    path = with_policies(tmp_path, "greedy", "heft", "cpu-only", "mine:kills")
    path.write_text(path.read_text().replace("repetitions = 2", "").replace("4_000, ", ""))
    here, failed_here = run(path, running.runner(1), "here")
    assert len(here) == 3 and list(failed_here) == [3]
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as two:

        def killing(job: workers.Job, numbers: Sequence[int]) -> Generator[Outcome, None, None]:
            for number, ended in enumerate(cluster.run_on_cluster(two.scheduler_address, job, numbers)):
                if number == 0:
                    os.kill(next(iter(two.workers.values())).pid, signal.SIGKILL)
                yield ended

        assert run(path, killing, "there") == (here, failed_here)
    monkeypatch.setattr(cluster, "CONNECT_S", 0.2)
    with pytest.raises(LeoError, match="no Dask scheduler answers"):
        run(path, partial(cluster.run_on_cluster, "tcp://127.0.0.1:1"), "nowhere")


def test_without_its_extra_a_cluster_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from leo_runtime.study import cluster

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match="needs the extra `study`"):
        run(write_study(tmp_path), partial(cluster.run_on_cluster, "tcp://127.0.0.1:1"))


LISTENING = """format = "leo-workload/1"
name = "listening"
streams = [{ name = "mic", kind = "audio", rate_hz = 16_000 }]

[[graphs]]
name = "ears"
period_us = 1_000_000
deadline_us = 400_000
stages = [
    { name = "sound", operator = "window", params = { stream = "mic", samples = 16_000 } },
    { name = "loud", operator = "energy_gate", inputs = ["sound"], params = { threshold_dbfs = -50.0 } },
    { name = "mel", operator = "log_mel", inputs = ["sound"], gate = "loud" },
]
"""


@pytest.mark.parametrize("compute", [False, True])
def test_kernels_are_run_and_logs_are_kept_only_where_that_is_asked_for(tmp_path: Path, compute: bool) -> None:
    (tmp_path / "listening.toml").write_text(LISTENING)
    wanted = "compute = true\nlogs = true\n" if compute else ""
    (tmp_path / "ears.study.toml").write_text(
        f'format = "leo-study/1"\nname = "ears"\n{wanted}'
        '[base]\nworkload = "listening.toml"\nrecording = "demo"\nseconds = 4\n'
        '[[axes]]\nvary = "solver"\nvalues = ["exact", "dsp-first"]\n'
    )
    assert cli.main(["study", "run", str(tmp_path / "ears.study.toml"), "--jobs", "0", "--out", str(tmp_path)]) == 0
    study = Study.from_file(tmp_path / "ears.study.toml")
    planned = running.plan(study, tmp_path)
    with Store(tmp_path / "ears.study.sqlite") as store:
        found = running.rows(planned, store)
    # The first seconds of the demo are silent, which only the kernels can know.
    assert [row["answered"] < row["answers"] for row in found] == [compute, compute]
    logs = sorted(path.stem for path in tmp_path.glob("ears.logs/*.jsonl"))
    assert logs == (sorted(planned.inputs) if compute else [])


def test_an_error_that_is_no_text_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(r"""def place(problem): raise OSError("cannot read \udcff")""")
    path = write_study(tmp_path, STUDY.replace('"exact", "greedy"', '"mine:place"'))
    rows, failed = run(path, running.runner(0))
    assert not rows and r"cannot read \udcff" in failed[0]


def test_logs_that_are_asked_for_later_are_written(tmp_path: Path) -> None:
    path = write_study(tmp_path)
    rows, _ = run(path, running.runner(0))
    planned = running.plan(Study.from_file(path), path.parent)
    with Store(tmp_path / "rows.sqlite") as store:
        for _ in range(2):
            running.run(planned, store, running.runner(0), logs=tmp_path / "logs")
            assert sorted(file.stem for file in (tmp_path / "logs").iterdir()) == sorted(planned.inputs)
        kept = store.rows(planned.inputs)
    assert [kept[inputs] for inputs in planned.inputs] == rows


def test_a_table_is_not_written_over_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path)
    assert cli.main(["study", "run", "blinks.study.toml", "--jobs", "0"]) == 0
    kept = Path("out/blinks.study.sqlite").read_bytes()
    assert cli.main(["study", "show", "blinks.study.toml", "--csv", "out/blinks.study.sqlite"]) == 2
    assert Path("out/blinks.study.sqlite").read_bytes() == kept


def test_rows_are_read_where_nobody_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a folder?" / "rows.sqlite"
    with Store(path) as store:
        store.keep("a", "{}", {})
    opened: list[str] = []
    connect = sqlite3.connect

    def noted(name: str, **how: Any) -> Any:
        opened.append(name)
        return connect(name, **how)

    monkeypatch.setattr(sqlite3, "connect", noted)
    with Store(path, writes=False) as store:
        assert store.rows(["a"]) == {"a": "{}"}
    monkeypatch.setattr(os, "access", lambda *_: False)
    with Store(path, writes=False) as store:
        assert store.rows(["a"]) == {"a": "{}"}
    assert [uri.endswith("?immutable=1") for uri in opened] == [False, True]


def test_what_a_policy_has_started_ends_with_its_worker(tmp_path: Path) -> None:
    path = with_policies(tmp_path, "mine:forks")
    job = workers.Job(Study.from_file(path), tmp_path)
    worker = workers.Worker(job, sys.executable)
    os.mkfifo(tmp_path / "alive")
    worker.ask(0, None)
    with (tmp_path / "alive").open("rb") as alive:
        assert alive.read(1) == b"y"
        worker.close()
        assert alive.read() == b""


def test_a_cluster_reads_again_for_each_run(tmp_path: Path) -> None:
    from leo_runtime.study import cluster

    path = write_study(tmp_path)
    study = Study.from_file(path)

    def inputs(run: str) -> str:
        found = cluster.run_there(study.to_json(), str(tmp_path), None, 0, VERSION, run)
        return Outcome.from_json(found).inputs

    try:
        first = inputs("first")
        hardware = tmp_path / "band.hardware.toml"
        hardware.write_text(hardware.read_text().replace("active_mw = 400", "active_mw = 401"))
        planned = running.plan(study, tmp_path)
        assert inputs("second") == planned.inputs[0] != first
    finally:
        crew = cluster._here.crew
        assert crew is not None
        crew.close()
        cluster._here.crew = None


def test_a_study_without_rows_is_no_empty_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path)
    Store(Path("out/blinks.study.sqlite")).close()
    for words in (["show", "blinks.study.toml"], ["export", "blinks.study.toml", "--to", "rows.csv"]):
        assert cli.main(["study", *words]) == 2
        assert "has no row of the study as it is now" in capsys.readouterr().err
    assert not Path("rows.csv").exists()


def test_a_policy_that_fails_has_its_row_and_its_cause_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with_policies(tmp_path, "mine:raises", "greedy", "exact").write_text(
        STUDY.replace('["exact", "greedy"]', '["mine:raises", "greedy", "exact"]')
        .replace("window = 0\n", "")
        .replace("seconds = 1", "seconds = 0.1")
        + '\n[published]\nsource = "'
        + "long words " * 12
        + '"\n'
    )
    assert cli.main(["study", "run", "blinks.study.toml", "--jobs", "0"]) == 1
    said = capsys.readouterr()
    assert re.search(r"^mine:raises +failed +failed$", said.out, re.M)
    assert (
        said.err.count("cell 0: solver=mine:raises, deadline=4000, repetition 0: the solver `mine:raises` raised") == 1
    )
    assert said.err.count("the solver `mine:raises` raised") == 2
    assert "4 cells in all failed so: the solver `mine:raises` raised ValueError" in said.err
    assert "windows, in stages at most: greedy 0, exact 30 (0: each release alone)" in said.out
    assert "note: not all solvers had the same windows" in said.err
    assert max(map(len, said.out.splitlines())) <= 80
    assert cli.main(["study", "status", "blinks.study.toml"]) == 1
    said = capsys.readouterr()
    assert "4 cells, the first of them 0: solver=mine:raises" in said.err
    assert cli.main(["study", "show", "blinks.study.toml", "--over", "deadline", "--csv", "map.csv"]) == 0
    assert re.search(r"^ *4000 +[0-9.]+ \(2 failed\) *$", capsys.readouterr().out, re.M)


def test_beside_energy_it_is_told_what_was_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, STUDY.replace("4_000, 20_000", "20_000").replace("seconds = 1", "seconds = 0.1"))
    study = "blinks.study.toml"
    assert cli.main(["study", "run", study, "--jobs", "0"]) == 0
    assert "\nmisses: 0 in all cells\n" in capsys.readouterr().out
    write_study(tmp_path, STUDY.replace("4_000, 20_000", "50, 20_000").replace("seconds = 1", "seconds = 0.1"))
    assert cli.main(["study", "run", study, "--jobs", "0"]) == 0
    assert "\nmisses, the mean over repetitions\n" in capsys.readouterr().out
    assert cli.main(["study", "show", study, "--column", "resource_nj.cpu"]) == 0
    assert "\nmisses: 0 to 5 in a cell\n" in capsys.readouterr().out
    assert cli.main(["study", "show", study, "--column", "late"]) == 0
    assert "misses" not in capsys.readouterr().out


def test_a_wrong_solver_is_found_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path)
    pages = [["report"]] if find_spec("jinja2") else []  # Without its extra a page is refused before that.
    for command in (["study", "run"], ["study", "check"], *pages):
        assert cli.main([*command, "blinks.study.toml", "--solver", "exact,heftt"]) == 2
        said = capsys.readouterr().err
        assert 'no solver is called "heftt"' in said and "did you mean" in said
    assert not (tmp_path / "out").exists()
    write_study(tmp_path, STUDY.replace('"greedy"', '"gredy"'))
    assert cli.main(["study", "check", "blinks.study.toml"]) == 1
    said = capsys.readouterr().err
    assert said.count('no solver is called "gredy"') == 1
    assert "4 cells, the first of them 2: solver=gredy, deadline=4000, repetition 0:" in said


def test_a_store_that_was_begun_and_no_more_is_one_of_which_nothing_has_run(tmp_path: Path) -> None:
    path = tmp_path / "begun.study.sqlite"
    path.touch()
    with pytest.raises(DocumentError, match="nothing has run yet"):
        Store(path, writes=False)
    with Store(path) as store:
        store.keep("a", "{}", {})
    with Store(path, writes=False) as store:
        assert store.counts() == (1, 0)


def test_who_has_no_room_is_not_told_to_move_the_rows_away(tmp_path: Path) -> None:
    with Store(tmp_path / "full.study.sqlite") as store:
        store.keep("a", "{}", {})
        pages = store._file.execute("PRAGMA page_count").fetchone()[0]
        store._file.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(DocumentError, match="full") as told:
            store.keep("b", "x" * 100_000, {})
        assert "make room" in told.value.hint
        assert store.rows(["a", "b"]) == {"a": "{}"}


def test_two_who_write_at_once_are_told_of_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leo_runtime.study.store.BUSY_S", 0)
    path = tmp_path / "two.study.sqlite"
    with Store(path) as one, Store(path) as other:
        one._file.execute("BEGIN IMMEDIATE")
        with pytest.raises(DocumentError, match="locked") as told:
            other.keep("a", "{}", {})
        one._file.execute("ROLLBACK")
    assert "another program writes to it" in told.value.hint


RUDE = """class Own(BaseException):
    pass


def own(problem):
    raise Own("of its own")


def generator(problem):
    raise GeneratorExit


def group(problem):
    raise BaseExceptionGroup("several", [KeyboardInterrupt()])


def long(problem):
    raise ValueError("x" * 1_000_000)
"""


def test_whatever_a_policy_raises_is_its_cells_cause_and_short(tmp_path: Path) -> None:
    (tmp_path / "rude.py").write_text(RUDE)
    names = ("own", "generator", "group", "long")
    file = write_study(tmp_path, STUDY)
    planned = running.plan(running.chosen(file, [f"rude:{name}" for name in names]), tmp_path)
    with Store(tmp_path / "rude.study.sqlite") as store:
        running.run(planned, store, workers.run_here)
        causes = {
            one.cell.split("rude:")[1].split(",")[0]: one.cause
            for one in running.status(planned, store).failed.values()
        }
    assert list(causes) == list(names)
    assert "Own: of its own" in causes["own"]
    assert "GeneratorExit" in causes["generator"]
    assert "BaseExceptionGroup" in causes["group"]
    assert len(causes["long"]) < 2_100 and "characters)" in causes["long"]


def test_a_figure_beyond_64_bits_is_exported(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "LARGE.PARQUET"
    write_rows(path, [{"derived.a": 2**63, "derived.b": -(2**63)}, {"derived.a": 1, "derived.b": 2**63 - 1}])
    found = parquet.read_table(path).to_pydict()
    assert found == {"derived.a": [float(2**63), 1.0], "derived.b": [-(2**63), 2**63 - 1]}
