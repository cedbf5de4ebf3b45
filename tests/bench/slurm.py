"""A study on a real SLURM, on this machine alone: Dask's workers are started by `srun`. Run by hand, as root.

    apt-get install slurmctld slurmd slurm-client munge
    python tests/bench/slurm.py [--show-logs]

Starts a SLURM of one node with two CPUs in a folder of its own, a Dask scheduler, and a job of two tasks that are
workers of it, as docs/studies.md has it. A small study is run on them by the command; in the middle one of the two
tasks is killed. Its rows have to be those of the same study on one core of this process. Exits 1 where they are not,
and 0, saying so, where what it needs is not here.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from leo_runtime.errors import LeoError
from leo_runtime.study import running, workers
from leo_runtime.study.document import Study
from leo_runtime.study.store import Store
from small_studies import STUDY, write_study

NEEDED = ("slurmctld", "slurmd", "srun", "sinfo", "munged")
PATIENCE_S = 60.0
CONF = """ClusterName=alone
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=512 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP MaxTime=INFINITE OverSubscribe=NO
"""
WORDS = [sys.executable, "-m", "leo_runtime", "study", "run", "blinks.study.toml"]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def program(folder: Path, name: str, *words: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that goes on in the background, and is ended with the script."""
    with (folder / f"{name}.out").open("wb") as out:
        one = subprocess.Popen(words, stdout=out, stderr=out, cwd=folder, env={**os.environ, **environment})
        try:
            yield one
        finally:
            one.terminate()
            try:
                one.wait(10.0)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()


def wait_for(what: str, is_there: Callable[[], bool]) -> None:
    """Until that says so."""
    until_s = time.monotonic() + PATIENCE_S
    while not is_there():
        if time.monotonic() > until_s:
            raise SystemExit(f"{what}: not within {PATIENCE_S:g} s")
        time.sleep(0.05)


@contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """A SLURM of this machine alone, of which `SLURM_CONF` tells its commands."""
    host = socket.gethostname().split(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    conf, key = folder / "slurm.conf", folder / "munge.key"
    conf.write_text(CONF.format(host=host, folder=folder, controller=free_port(), node=free_port()))
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    os.environ["SLURM_CONF"] = str(conf)
    munge = [f"--socket={folder}/munge.socket", f"--key-file={key}", f"--pid-file={folder}/munge.pid"]
    munge += [f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed"]
    with (
        program(folder, "munged", "munged", "--foreground", "--force", *munge),
        program(folder, "slurmctld", "slurmctld", "-D", "-i", "-f", str(conf)),
        program(folder, "slurmd", "slurmd", "-D", "-N", host, "-f", str(conf)),
    ):
        wait_for("a node that is idle", lambda: "idle" in said("sinfo", "--noheader", "--format=%T"))
        yield


def said(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Dask scheduler, and two workers of it that are one job: its address, and that job's `srun`."""
    dask, address = [sys.executable, "-m", "dask"], f"tcp://127.0.0.1:{free_port()}"
    scheduler = [*dask, "scheduler", f"--port={address.rpartition(':')[2]}", "--host=127.0.0.1", "--no-dashboard"]
    worker = [*dask, "worker", address, "--nthreads=1", "--nworkers=1", "--no-dashboard"]
    with (
        program(folder, "scheduler", *scheduler),
        program(folder, "srun", "srun", "--ntasks=2", "--kill-on-bad-exit=0", *worker) as job,
    ):
        yield address, job


def tasks() -> list[int]:
    """The processes of the job's tasks, by SLURM's own words."""
    found = [line.split() for line in said("scontrol", "listpids").splitlines()[1:]]
    return [int(process) for process, _, _, task, *_ in found if task.isdecimal()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show-logs", action="store_true", help="what all programs said, at the end")
    asked = parser.parse_args()
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    missing = [name for name in NEEDED if shutil.which(name) is None]
    missing += [] if find_spec("distributed") else ["distributed (extra `study`)"]
    missing += [] if os.geteuid() == 0 else ["root"]
    if missing:
        print(f"no SLURM was started, here is no {', '.join(missing)}")
        return 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)  # munged wants its socket where everybody may get to it.
        path = write_study(folder / "study", STUDY.replace("repetitions = 2", "repetitions = 10"))
        if asked.show_logs:
            stack.callback(show, folder)
        planned = running.plan(Study.from_file(path), path.parent)
        with Store(folder / "here.sqlite") as store:
            running.run(planned, store, workers.run_here)
            here = store.rows(planned.inputs)
        stack.enter_context(slurm(folder))
        address, job = stack.enter_context(cluster(folder))
        wait_for("two tasks", lambda: len(tasks()) >= 2)
        print(f"{said('srun', '--version').strip()}; a job of the tasks {tasks()}")
        kept = path.parent / "out" / "blinks.study.sqlite"
        began_s = time.monotonic()
        with program(path.parent, "study", *WORDS, "--scheduler", address) as study:
            wait_for("a first row", lambda: done(planned, kept) >= 3)
            first = tasks()[0]
            os.kill(first, signal.SIGKILL)
            print(f"killed task {first} after {done(planned, kept)} of {len(planned.cells)} rows")
            wait_for("the study", lambda: study.poll() is not None)
            status = study.returncode
        took_s = time.monotonic() - began_s
        with Store(kept, writes=False) as store:
            there = store.rows(planned.inputs)
        goes_on = "goes on" if job.poll() is None else "is over"
        print(f"status {status} after {took_s:.1f} s; {len(there)} rows; the job {goes_on}, tasks {tasks()}")
        print("the same rows" if there == here else "OTHER ROWS")
        return int(status != 0 or there != here)


def done(planned: running.Planned, kept: Path) -> int:
    """How many rows there are."""
    # It may be about to be made.
    with suppress(LeoError), Store(kept, writes=False) as store:
        return running.status(planned, store).done
    return 0


def show(folder: Path) -> None:
    for path in sorted([*folder.rglob("*.out"), *folder.rglob("*.log")]):
        print(f"== {path.name}", path.read_text(errors="replace"), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
