"""The figures of replays as one document: what `leo-runtime replay --json` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, RootModel

from leo_runtime.replay.compare import Compared, Placing
from leo_runtime.replay.figures import Failure, Pipeline, Solving, Total
from leo_runtime.replay.network import NetworkKnown
from leo_runtime.runtime.link_watch import LinkKnown
from leo_runtime.runtime.windows import Planning
from leo_runtime.schema import Value


class ProcessorFigures(Value):
    """What a processor, a radio, or a link with a cost ("a -> b") did."""

    name: str
    runs: int
    """Stages that ran, or sendings."""
    busy_us: int
    """Summed over its lanes."""
    wake_ups: int
    nj: dict[str, int]
    """Nanojoules by cause."""
    total_nj: int


class EnergyFigures(Value):
    """All energy, three times over, in nanojoules."""

    total_nj: int
    by_cause: dict[str, int]
    """The greatest first."""
    by_resource: dict[str, dict[str, int]]
    """By processor, radio, or link that names neither ("a -> b"), then by cause."""
    by_graph: dict[str, dict[str, int]]
    """By pipeline, then by cause; "" is what belongs to none."""


class ReplayFigures(Value):
    """One replay: what was run how, and all that its tables tell, and more."""

    # Some of its fields are dataclasses, of which pydantic alone knows what the docstrings of their fields say.
    model_config = ConfigDict(use_attribute_docstrings=True)

    format: Literal["leo-replay/1"] = "leo-replay/1"
    time: Literal["virtual", "real"]
    policy: str
    """The solver that placed the frames."""
    workload: str
    hardware: str
    profile: str
    recording: str
    """These four by name."""
    repairs: tuple[str, ...]
    """What was mended of the recording as it was read."""
    start_us: int
    end_us: int
    """The part of the recording that was run."""
    solver_on: str | None
    """The processor that solving is charged to; null: it is not charged."""
    solving: Solving | None
    """Of the solver that is charged."""
    batch: int
    """How many frames were collected and placed as one."""
    ran_together: dict[str, int]
    """How often a stage ran for all frames of a batch, by "stage on processor"."""
    missing: dict[str, str]
    """Processors that are not here, and why."""
    left_out: dict[str, str]
    """Kernels that could not be loaded, as "stage (variant) on processor", and why."""
    not_held: dict[str, str]
    """Processors that were to be kept awake, and what their backends said instead."""
    planning: Planning | None
    """How releases came to their plans; null: each was placed as if it were alone."""
    network_known: NetworkKnown
    """What virtual plans know of links of which the recording tells."""
    links: tuple[LinkKnown, ...]
    """What was known of each of them that was used, and how good that was; in real time, of links to servers."""
    waits_given_up: int
    """Transfers and wake-ups that were planned to wait for a gate, and went on without it so as not to be late."""
    exits: dict[str, int]
    """How often an early exit answered in place of the rest, as "pipeline by stage"."""
    transfers_lost: int
    """Sendings that were never there, since their link fell or their server was gone."""
    failures: tuple[Failure, ...]
    """Every kind once, the most frequent first."""
    pipelines: tuple[Pipeline, ...]
    processors: tuple[ProcessorFigures, ...]
    policies: tuple[Total, ...]
    """This replay, and those that were set beside it."""
    versions: dict[str, str]
    """Of leo-runtime, Python ("python"), and the packages that compute."""
    seed: int
    noise_ppm: int
    """The spread of durations in virtual time."""
    reserve_percent: int
    """Of every deadline, kept free in plans."""
    window_stages: int
    """How many stages a window has at most; 0: each frame was placed as if it were alone."""
    changes: tuple[str, ...]
    """What was changed of the documents before they were run, as it was given."""
    frames: int
    """How many ended, each batch as one."""
    energy: EnergyFigures
    written: tuple[str, ...]
    """The files of this replay."""


class Replays(RootModel[tuple[ReplayFigures, ...]]):
    """What `leo-runtime replay --json` prints: the replays in the order in which they ran."""


def figures(
    compared: Compared, placing: Placing, versions: Mapping[str, str], written: Sequence[Path] = ()
) -> ReplayFigures:
    """All figures of a replay that was placed so."""
    replayed, summary = compared.replayed, compared.replayed.summary
    energy = summary.energy
    return ReplayFigures(
        time=replayed.time,
        policy=replayed.policy,
        workload=replayed.workload.name,
        hardware=replayed.hardware.name,
        profile=replayed.profile.name,
        recording=replayed.recording.manifest.name,
        repairs=tuple(replayed.recording.repairs),
        start_us=replayed.span.start_us,
        end_us=replayed.span.end_us,
        solver_on=replayed.solver_on,
        solving=None if replayed.solver_on is None else summary.solving,
        batch=replayed.batch,
        ran_together=dict(summary.ran_together),
        missing=dict(compared.missing),
        left_out=dict(compared.left_out),
        not_held=dict(compared.not_held),
        planning=compared.planning,
        network_known=placing.network_known,
        links=summary.links,
        waits_given_up=summary.waits_given_up,
        exits=dict(summary.exits),
        transfers_lost=summary.transfers_lost,
        failures=summary.failures,
        pipelines=summary.pipelines,
        processors=tuple(
            ProcessorFigures(
                name=line.name,
                runs=line.runs,
                busy_us=line.busy_us,
                wake_ups=line.wake_ups,
                nj=dict(line.nj),
                total_nj=line.total_nj,
            )
            for line in summary.processors
        ),
        policies=compared.totals,
        versions=dict(versions),
        seed=placing.seed,
        noise_ppm=placing.noise_ppm or 0,
        reserve_percent=placing.reserve_in(replayed.time),
        window_stages=placing.stages_of_windows,
        changes=replayed.changes,
        frames=summary.frames,
        energy=EnergyFigures(
            total_nj=energy.total_nj,
            by_cause=energy.by_cause,
            by_resource={name: dict(nj) for name, nj in energy.by_resource.items()},
            by_graph={name: dict(nj) for name, nj in energy.by_graph.items()},
        ),
        written=tuple(map(str, written)),
    )
