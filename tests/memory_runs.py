"""Random runs on machines that load weights, and a judge of what their logs tell that shares no code with what ran.

`python tests/memory_runs.py RUNS SEED` judges so many of them (`make long`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any

from leo_runtime import Runtime
from leo_runtime.dispatch.events import Event, FrameAdmitted, ProcessorFound, ProcessorLost
from leo_runtime.dispatch.simulator import Simulator
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload
from leo_runtime.frame.records import FrameResult
from leo_runtime.replay.log_text import Lines, Questions

Line = dict[str, Any]


Lost = Sequence[tuple[str, int]]
"""Processors, each with a time."""


class Case:
    """A random machine, workload and profile, and when the graphs are released."""

    def __init__(self, seed: int) -> None:
        dice = Random(seed)
        self.seed = seed
        self.noise_ppm = dice.choice((None, None, 200_000, 800_000))
        sizes = {f"w{n}": dice.randint(1, 30) * 50_000 for n in range(dice.randint(2, 6))}
        processors = ["cpu", "dsp", "npu"][: dice.randint(1, 3)]
        loaded = ["cpu", *(name for name in processors[1:] if dice.random() < 0.6)]
        graphs: list[Line] = []
        costs: list[Line] = []
        need = dict.fromkeys(loaded, 0)
        working = 0
        for g in range(dice.randint(1, 3)):
            stages: list[Line] = []
            for k in range(dice.randint(1, 5)):
                name, out = f"g{g}k{k}", dice.randint(1, 4_000)
                labels = dice.sample(sorted(sizes), dice.choice((0, 1, 1, 1, 2)))
                own = [{"label": label, "bytes": sizes[label]} for label in labels]
                before = dice.sample(stages, min(len(stages), dice.choice((1, 1, 2))))
                stage: Line = {"name": name, "operator": "cost", "inputs": [one["name"] for one in before]}
                stage["params"] = {"output_bytes": out, "weights": own}
                gates = [one["name"] for one in stages if "chance_ppm" in one]
                if gates and dice.random() < 0.5:
                    stage["gate"] = gates[-1]
                if dice.random() < 0.3:
                    stage["chance_ppm"] = dice.choice((200_000, 500_000))
                stages.append(stage)
                working += out
                for name_of in dict.fromkeys(("cpu", *dice.sample(processors, dice.randint(0, len(processors))))):
                    us = dice.randint(500, 15_000)
                    cost = {"processor": name_of, "operator": "cost", "stage": name, "fixed_us": us}
                    costs.append({**cost, "energy_nj": dice.randint(1, 10**6), "source": "modelled"})
                    if name_of in need:
                        need[name_of] = max(need[name_of], sum(sizes[label] for label in labels))
            period_us = dice.choice((20_000, 40_000, 50_000, 100_000))
            graphs.append(
                {
                    "name": f"g{g}",
                    "period_us": period_us,
                    "deadline_us": dice.choice((60_000, 300_000)),
                    "stages": stages,
                }
            )
        costs.sort(key=lambda cost: (cost["processor"], cost.get("stage", "")))
        stores = ["flash", "disk"][: dice.randint(1, 2)]
        rate = dice.choice((20_000_000, 100_000_000, 400_000_000))
        asleep = {"idle_timeout_us": 3_000, "wake_latency_us": 300, "wake_energy_nj": 2_000, "asleep_mw": 1}
        hardware = {
            "format": "leo-hardware/1",
            "name": "machine",
            "processors": [
                {
                    "name": name,
                    "backend": "cpu",
                    "lanes": dice.randint(1, 2),
                    "awake_mw": 3,
                    **(asleep if dice.random() < 0.3 else {}),
                    **(
                        {"memory_bytes": 40_000 + working + need[name] + dice.randint(0, 1_500_000)}
                        if name in loaded and dice.random() < 0.8
                        else {}
                    ),
                }
                for name in processors
            ],
            "links": [
                {"source": a, "target": b, "latency_us": 50, "bytes_per_s": 10**8, "energy_nj": 10}
                for a in processors
                for b in processors
                if a != b
            ],
            "stores": [
                {"name": name, "lanes": dice.randint(1, 2), "awake_mw": 5, **(asleep if dice.random() < 0.5 else {})}
                for name in stores
            ],
            "loaders": [
                {
                    "target": name,
                    "store": dice.choice(stores),
                    "bytes_per_s": rate,
                    "latency_us": dice.choice((0, 70)),
                    "energy_nj": 100,
                    "energy_pj_per_byte": 500,
                }
                for name in loaded
            ],
        }
        workload = {"format": "leo-workload/1", "name": "random", "streams": [], "graphs": graphs}
        self.workload = Workload.from_dict(workload)
        self.hardware = Hardware.from_dict(hardware)
        profile = {"format": "leo-profile/1", "name": "machine", "hardware": "machine", "costs": costs}
        self.profile = Profile.from_dict(profile)
        self.frames = dice.randint(3, 8)

    def run(self, *, with_faults: bool = False) -> tuple[list[FrameResult], list[Line], Lost]:
        """The results of its frames, the lines of a log of them, and the processors that were lost meanwhile.

        `with_faults`: some are, as frames are placed and as they run, and are found again.
        """
        dice, gone = Random(self.seed), set[str]()
        lost: list[tuple[str, int]] = []
        names = [processor.name for processor in self.hardware.processors]
        releases = sorted({k * graph.period_us for graph in self.workload.graphs for k in range(self.frames)})
        runtime = Runtime.simulated(
            self.workload, self.hardware, self.profile, solver="greedy", noise=self.noise_ppm, seed=self.seed
        )
        results: list[FrameResult] = []

        def change(driver: Simulator, at_us: int) -> None:
            """A processor is lost, or found again."""
            name = dice.choice(names)
            driver.reach(at_us)
            if name in gone:
                driver.post(ProcessorFound(at_us, name))
                gone.remove(name)
            elif len(gone) + 1 < len(names):
                driver.post(ProcessorLost(at_us, name, "tried"))
                gone.add(name)
                lost.append((name, at_us))

        def admitted_late(post: Callable[[Event], None], event: Event) -> None:
            """As in real time, where a frame is planned beside all that happens meanwhile."""
            if isinstance(event, FrameAdmitted) and dice.random() < 0.5:
                assert isinstance(runtime._driver, Simulator)
                at_us = event.at_us + dice.randint(0, 8_000)
                change(runtime._driver, at_us)
                event = replace(event, at_us=at_us)
            post(event)

        with runtime:
            for at_us in releases[: self.frames]:
                runtime.submit(at_us, {})
                driver = runtime._driver
                assert isinstance(driver, Simulator)
                if with_faults and at_us == releases[0]:
                    driver.post = partial(admitted_late, driver.post)  # type: ignore[method-assign]  # Here alone.
                if with_faults and dice.random() < 0.5:
                    change(driver, at_us + dice.randint(0, 15_000))
                results += runtime.results()
            results += runtime.drain()
            lines, questions = Lines(runtime.merged), Questions()
        found = []
        for result in sorted(results, key=lambda result: result.frame):
            digest, question = ("", "") if result.solved is None else questions.digest(result.solved)
            found += [json.loads(text) for text in (question, lines.frame(result, digest)) if text]
        return results, found, lost


def wrong(lines: Sequence[Line], hardware: Line, lost: Lost = ()) -> Iterator[str]:
    """What of a run's log breaks a rule of memory, or of its bounds; `hardware` is the machine's document.

    `lost` are processors that were lost, and when: what was in their memory is gone.
    """
    questions = {line["question"]: line for line in lines if line["kind"] == "question"}
    frames = [line for line in lines if line["kind"] == "frame"]
    caps = {one["name"]: one.get("memory_bytes") for one in hardware["processors"]}
    yield from _loads(frames, hardware)
    for resource in [loader["target"] for loader in hardware["loaders"]]:
        gone_us = [at_us for name, at_us in lost if name == resource]
        yield from _memory(frames, questions, resource, caps[resource], gone_us)
    yield from _bounds(frames, questions, hardware)


def _loads(frames: Sequence[Line], hardware: Line) -> Iterator[str]:
    """Each load takes and costs what it has to, and on each lane one follows the other."""
    loaders = {loader["target"]: loader for loader in hardware["loaders"]}
    lanes: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for load in [load for frame in frames for load in frame.get("loads", ())]:
        by = loaders[load["target"]]
        takes_us = -(-load["bytes"] * 1_000_000 // by["bytes_per_s"])
        costs_nj = by.get("energy_nj", 0) + -(-load["bytes"] * by.get("energy_pj_per_byte", 0) // 1000)
        if (load["loaded_us"] - load["start_us"], load["nj"], load["resource"]) != (takes_us, costs_nj, by["store"]):
            yield f"{load} takes or costs something else"
        if load["arrive_us"] != load["loaded_us"] + by.get("latency_us", 0):
            yield f"{load} arrives at another time"
        lanes.setdefault((load["resource"], load["lane"]), []).append((load["start_us"], load["loaded_us"]))
    for lane, spans in lanes.items():
        spans.sort()
        yield from (f"{lane} loads two at a time: {a}, {b}" for a, b in pairwise(spans) if b[0] < a[1])


def _memory(
    frames: Sequence[Line], questions: dict[str, Line], resource: str, cap: int | None, lost_us: Sequence[int]
) -> Iterator[str]:
    """What is in a memory is what was loaded and has not gone; it is there for every run, and it fits."""
    # By time; at one time runs end and loads arrive, then what goes goes, then loads and runs begin.
    events: list[tuple[int, int, str, str, int]] = [(at_us, 1, "lost", "", 0) for at_us in lost_us]
    for number, frame in enumerate(frames):
        for load in frame.get("loads", ()):
            if load["target"] == resource:
                events.append((load["start_us"], 2, "load", load["label"], load["bytes"]))
                events.append((load["arrive_us"], 0, "there", load["label"], load["start_us"]))
        gone = [one for one in frame.get("evicted", ()) if one["resource"] == resource]
        events += [(one["at_us"], 1, "gone", one["label"], 0) for one in gone]
        runs = [run for run in frame["stages"] if run["resource"] == resource and run["end_us"] > run["start_us"]]
        if not runs:
            continue
        modes = _modes(questions[frame["question"]])
        working = sum(modes[run["stage"], resource, run["variant"]].get("memory_bytes", 0) for run in runs)
        events.append((min(run["start_us"] for run in runs), 4, "work", str(number), working))
        events.append((max(run["end_us"] for run in runs), 0, "rest", str(number), 0))
        for run in runs:
            for label in modes[run["stage"], resource, run["variant"]].get("weights", ()):
                events.append((run["start_us"], 5, "run", label, 0))
                events.append((run["end_us"], 0, "end", label, 0))
    held: dict[str, int] = {}
    since: dict[str, int] = {}
    there: set[str] = set()
    used: dict[str, int] = {}
    work: dict[str, int] = {}
    for at_us, _, what, name, size in sorted(events):
        if what == "load":
            if name in held:
                yield f"{name} is loaded to {resource} at {at_us}, where it is already"
            held[name], since[name] = size, at_us
        elif what == "there":
            if since.get(name) == size:
                there.add(name)
        elif what == "lost":
            held.clear()
            since.clear()
            there.clear()
        elif what == "gone":
            if name not in there or used.get(name):
                yield f"{name} goes from {resource} at {at_us}, where it is used, or is not yet, or never was"
            held.pop(name, None)
            there.discard(name)
        elif what == "work":
            work[name] = size
        elif what == "rest":
            del work[name]
        elif what == "run":
            used[name] = used.get(name, 0) + 1
            if name not in there:
                yield f"something runs without {name} on {resource} at {at_us}"
        else:
            used[name] -= 1
        if cap is not None and sum(held.values()) + sum(work.values()) > cap:
            yield f"{held} and {work} are more than {resource} has ({cap}) at {at_us}"


def _bounds(frames: Sequence[Line], questions: dict[str, Line], hardware: Line) -> Iterator[str]:
    """A run is no shorter than the longest path of its frames, and no longer than all of it one after the other."""
    parts = [*hardware["processors"], *hardware["stores"]]
    wakes_us = {part["name"]: part.get("wake_latency_us", 0) for part in parts}
    serial_us, end_us = 0, 0
    for frame in frames:
        begun_us = frame.get("admitted_us", frame["release_us"])
        done = {run["stage"]: run for run in frame["stages"] if run["outcome"] == "done"}
        serial_us += sum(run["end_us"] - run["start_us"] for run in frame["stages"])
        serial_us += sum(one["arrive_us"] - one["start_us"] for one in (*frame["transfers"], *frame.get("loads", ())))
        serial_us += sum(wakes_us[wake["resource"]] for wake in frame["wakes"])
        if not done:
            continue
        last_us = max(run["end_us"] for run in done.values())
        end_us = max(end_us, last_us)
        inputs = {one["name"]: one.get("inputs", ()) for one in questions[frame["question"]]["problem"]["stages"]}
        path: dict[str, int] = {}
        for name, run in sorted(done.items(), key=lambda item: item[1]["start_us"]):
            before = max((path[one] for one in inputs[name] if one in path), default=0)
            path[name] = before + run["end_us"] - run["start_us"]
        if last_us - begun_us < max(path.values()):
            yield f"frame {frame['frame']} takes less than its longest path"
    last_release_us = max(frame.get("admitted_us", frame["release_us"]) for frame in frames)
    if end_us > last_release_us + serial_us:
        yield f"the run ends at {end_us}, later than all of it one after the other ({last_release_us + serial_us})"


def _modes(question: Line) -> dict[tuple[str, str, str], Line]:
    return {
        (stage["name"], mode["resource"], mode.get("variant", "default")): mode
        for stage in question["problem"]["stages"]
        for mode in stage["modes"]
    }


def main(runs: int, first: int) -> int:
    """Judge so many runs; 1 where one breaks a rule."""
    broken = frames = loads = gone = 0
    for seed in range(first, first + runs):
        case = Case(seed)
        results, lines, lost = case.run(with_faults=seed % 2 == 1)
        for text in wrong(lines, case.hardware.model_dump(mode="json", exclude_defaults=True), lost):
            print(f"run {seed}: {text}")
            broken += 1
        frames += len(results)
        loads += sum(len(result.loads) for result in results)
        gone += sum(len(result.evicted) for result in results)
    print(f"{runs} runs of {frames} frames, {loads} loads, {gone} evictions: {broken} rules broken")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
