"""What a stage costs where: the document `leo-profile/1`, with how each figure was come by.

A cost is a line: `fixed_us` plus so much for every multiply-accumulate and every byte. An entry of one stage
(`signature`) goes before one of all that differ from it in the length of what they read alone (`family`), which goes
before an entry of its operator, and that before one of any operator (`*`). A stage of operator `cost` has entries by
its name (`stage`), and by nothing else.
"""

from __future__ import annotations

from itertools import product
from typing import Literal, Self

from pydantic import Field, model_validator

from leo_runtime.documents.binding import BoundStage
from leo_runtime.documents.contention import Contention
from leo_runtime.documents.workload import DEFAULT_VARIANT
from leo_runtime.errors import ProfileError
from leo_runtime.frozen import dataclass
from leo_runtime.operators import Work
from leo_runtime.schema import Document, Name, Positive, Quantity, Value, reject, unique

ANY_OPERATOR = "*"
ONLY_COSTS = "cost"
"""The operator of stages that are known by what they cost alone."""
INT8_VARIANT = "int8"
"""Entries for this variant hold for whatever computes in int8."""


class Measurement(Value):
    """How a cost was measured: warm runs, and the first run apart."""

    runs: Positive
    median_us: Quantity
    p95_us: Quantity
    cold_us: Quantity | None = None
    beside_us: Quantity | None = None
    """The median of runs while every other processor was busy; None: not measured."""
    lanes_us: Quantity | None = None
    """The median of runs while the processor's other lanes ran the same stage; None: not measured, or one lane."""
    step_us: Quantity | None = None
    """Of a stage that keeps state, the median of runs that go on from what it kept; the others are of runs that start
    anew. None: not measured, or it keeps none."""
    step_entries: Quantity | None = None
    """How many entries of its first input were new to each of those: what a period brings."""

    @model_validator(mode="after")
    def _steps(self) -> Self:
        if (self.step_us is None) != (self.step_entries is None):
            reject("step_us and step_entries are given together, or neither", "$.step_us", self.step_us)
        return self


class Cost(Value):
    """What one kind of stage costs on one processor."""

    processor: Name
    operator: Name = ANY_OPERATOR
    variant: Name = DEFAULT_VARIANT
    signature: Name | None = None
    """The one stage this holds for (`BoundStage.signature`); None: any stage of the operator."""
    family: Name | None = None
    """The stages this holds for that differ in the length of what they read alone (`BoundStage.family`)."""
    stage: Name | None = None
    """The stage of operator `cost` this holds for, by its name in the workload."""
    fixed_us: Quantity = 0
    ps_per_mac: Quantity = 0
    ps_per_byte: Quantity = 0
    power_mw: Quantity | None = None
    """Drawn while it runs; None: the processor's `active_mw`."""
    energy_nj: Quantity | None = None
    """What a run takes, in place of `power_mw`; of a stage by its name alone."""
    energy_from: Literal["measured", "modelled"] = "modelled"
    measurement: Measurement | None = None
    source: Name
    """A citation, `measured`, or a text that begins with `modelled`."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.stage is None:
            if self.operator == ONLY_COSTS:
                reject(f"an entry of operator `{ONLY_COSTS}` is for one stage, by its name", "$.stage", self.stage)
            if self.energy_nj is not None:
                reject("energy_nj is of a stage by its name; others have power_mw", "$.energy_nj", self.energy_nj)
            if self.signature is not None and self.family is not None:
                reject("an entry is for one stage or for its family, not for both", "$.family", self.family)
            return self
        if self.operator == ANY_OPERATOR:
            object.__setattr__(self, "operator", ONLY_COSTS)
        if self.operator != ONLY_COSTS:
            says = f"an entry for a stage by its name is of operator `{ONLY_COSTS}`, or leaves it out"
            reject(f"{says}, got `{self.operator}`", "$.operator", self.operator)
        for key in ("signature", "family", "ps_per_mac", "ps_per_byte"):
            if value := getattr(self, key):
                reject(f"{key} does nothing for stage `{self.stage}`, which has fixed_us alone", f"$.{key}", value)
        if self.power_mw is not None and self.energy_nj is not None:
            reject("a run takes power_mw or energy_nj, not both", "$.energy_nj", self.energy_nj)
        return self

    @property
    def holds_for(self) -> str | None:
        """The one stage it holds for, by its name or signature; None: any of its operator."""
        return self.stage or self.signature

    def run_nj(self, duration_us: int, active_mw: int, frames: int = 1) -> int:
        """What a run that lasts so long takes for so many frames, on a processor that draws `active_mw`."""
        if self.energy_nj is not None:
            return self.energy_nj * frames
        return duration_us * (active_mw if self.power_mw is None else self.power_mw)

    def duration_us(self, work: Work, frames: int = 1) -> int:
        """Microseconds for this work, at least 1; for several frames' in one batch, the fixed part is paid once.

        Where nothing but a fixed part is known, nothing is known of a batch either: it then costs as much as the
        frames one by one.
        """
        variable_ps = work.macs * self.ps_per_mac + work.bytes * self.ps_per_byte
        if variable_ps == 0:
            return max(1, self.fixed_us) * frames
        return max(1, self.fixed_us - (-frames * variable_ps // 1_000_000))


class ClockMhz(Value):
    """How fast a CPU's clock may go and went, as far as the operating system says."""

    least: Positive | None = None
    now: Positive | None = None
    most: Positive | None = None


class Device(Value):
    """The machine a profile was measured on; all of it but its clock makes the fingerprint."""

    machine: Name
    """As the operating system calls it, such as x86_64."""
    cpu: str = ""
    cores: Positive = 1
    blas: str = ""
    """The BLAS library and the core it chose, such as `openblas Haswell`."""
    drivers: dict[str, str] = Field(default_factory=dict)
    """Device and driver of every other processor, by processor."""
    clock_mhz: ClockMhz | None = None
    """The CPU's clock when measuring ended; None: unknown. It changes all the time, so it makes no other device."""

    def is_same_as(self, other: Device) -> bool:
        """Whether both are one device, whatever its clock did."""
        return self == other.model_copy(update={"clock_mhz": self.clock_mhz})


@dataclass(frozen=True, slots=True)
class CostDifference:
    """An entry before and after; None where there is none."""

    before: Cost | None
    after: Cost | None

    def ratio(self, work: Work) -> float | None:
        """How much longer that work takes after than before; None where one of them does not say."""
        if self.before is None or self.after is None:
            return None
        return self.after.duration_us(work) / self.before.duration_us(work)


class Profile(Document):
    """What stages cost on a machine."""

    format: Literal["leo-profile/1"]
    name: Name
    hardware: Name
    """The `Hardware` whose processors the entries name."""
    device: Device | None = None
    """Where it was measured; None: it is made from published figures and modelling choices."""
    costs: tuple[Cost, ...]
    contention: Contention = Field(default_factory=Contention)
    """How much processors slow each other."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        unique([" / ".join(map(str, _key(cost))) for cost in self.costs], "$.costs[{}]", "entry")
        return self

    def cost(self, stage: BoundStage, variant: str, processor: str) -> Cost | None:
        """The entry that holds for a stage's variant on a processor, or None when there is none.

        What computes in int8 is priced as variant `int8`, whatever it is called, where there is such an entry, and what
        packs as `default`, by its work, where its form has none. One that counts multiply-accumulates holds for no
        stage whose number of them is not known.
        """
        entries = {_key(cost): cost for cost in self.costs if cost.processor == processor}
        if stage.operator.only_costs:
            return entries.get((processor, stage.operator.name, variant, stage.name))
        name = stage.operator.name
        if (entry := entries.get((processor, name, variant, stage.signature(variant)))) is not None:
            return entry
        if (entry := entries.get((processor, name, variant, stage.family(variant)))) is not None:
            return entry
        as_int8 = entries.get((processor, name, INT8_VARIANT, None))
        if as_int8 is not None and variant != INT8_VARIANT and stage.work(variant).is_int8:
            return as_int8
        # Forms of packing are many, and differ in their work alone.
        variants = (variant,) if stage.operator.sent_bytes is None else (variant, DEFAULT_VARIANT)
        for operator, named in product((name, ANY_OPERATOR), variants):
            if (entry := entries.get((processor, operator, named, None))) is not None:
                return entry if not entry.ps_per_mac or stage.work(variant).is_known else None
        return None

    def merged_with(self, other: Self, name: str) -> Self:
        """The entries of both; of two, the other one. Raises `ProfileError` for other hardware or devices."""
        other.require(self.hardware)
        if self.device is not None and other.device is not None and not self.device.is_same_as(other.device):
            raise ProfileError(
                f"profiles `{self.name}` and `{other.name}` were measured on different devices",
                hint="compare them with `leo-runtime profiles diff`; one profile speaks of one device",
            )
        costs = {_key(cost): cost for cost in (*self.costs, *other.costs)}
        device = self.device or other.device
        update: dict[str, object] = {"name": name, "device": device, "costs": tuple(costs.values())}
        if other.contention.pairs:
            pairs = {(pair.victim, pair.aggressor): pair for pair in (*self.contention.pairs, *other.contention.pairs)}
            update["contention"] = other.contention.model_copy(update={"pairs": tuple(pairs.values())})
        return self.model_copy(update=update)

    def beside_neighbours(self) -> Self:
        """The same profile with stages as slow as they were beside busy neighbours, where that was measured."""
        return self.model_copy(update={"costs": tuple(_slowed(cost) for cost in self.costs)})

    def differences(self, other: Self) -> tuple[CostDifference, ...]:
        """Every entry that is not the same in both, in the order of this profile, then what only the other has."""
        before, after = ({_key(cost): cost for cost in profile.costs} for profile in (self, other))
        pairs = ((before.get(key), after.get(key)) for key in (*before, *(key for key in after if key not in before)))
        return tuple(CostDifference(old, new) for old, new in pairs if old != new)

    def require(self, hardware_name: str) -> None:
        """Raise `ProfileError` when the profile speaks of other hardware."""
        if self.hardware != hardware_name:
            raise ProfileError(
                f"profile `{self.name}` is of hardware `{self.hardware}`, not of `{hardware_name}`",
                hint="give the profile and the hardware of one machine",
            )


def _slowed(cost: Cost) -> Cost:
    measured = cost.measurement
    if measured is None or measured.beside_us is None or measured.median_us == 0:
        return cost
    # Both parts of the line grow alike, so that the entry gives the slower median at the stage's own size.
    beside_us, median_us = measured.beside_us, measured.median_us
    return cost.model_copy(
        update={
            "fixed_us": cost.fixed_us * beside_us // median_us,
            "ps_per_mac": cost.ps_per_mac * beside_us // median_us,
            "ps_per_byte": cost.ps_per_byte * beside_us // median_us,
        }
    )


def _key(cost: Cost) -> tuple[str, str, str, str | None]:
    return cost.processor, cost.operator, cost.variant, cost.holds_for or cost.family
