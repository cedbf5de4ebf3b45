"""What a daemon is to do about its machine: the table `[policy]` of `leo-daemon/1`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from leo_runtime.schema import Name, Positive, Quantity, Value, reject

Percent = Annotated[int, Field(ge=0, le=100)]


class _Common(Value):
    """What all policies have that look at the machine."""

    every_s: Positive = 10
    """How often the machine is looked at."""
    cpu: tuple[Name, ...] | None = None
    """The processors that clocks of this machine's cores slow down; None: those of backend `cpu`."""
    gpu: tuple[Name, ...] | None = None
    """Those that other programs may take; None: those of backend `opencl`."""
    networks: dict[Name, Name] = Field(default_factory=dict)
    """By radio of the hardware, the network interface (such as `wlan0`) without which its links are down."""
    aging_s: Quantity = 0
    """Priorities without starvation: what was left out for so long, times the heaviest weight by its own, weighs more
    than all others until it has run a quarter as long. 0: the lightest may wait forever."""


class Fixed(Value):
    """Look at nothing, change nothing."""

    kind: Literal["fixed"] = "fixed"


class MeetDeadlines(_Common):
    """Deadlines first: plans leave room for what else runs on this machine."""

    kind: Literal["meet-deadlines"]


class SaveEnergy(_Common):
    """As the battery runs low, first energy before deadlines, then only what weighs most."""

    kind: Literal["save-energy"]
    low_percent: Percent = 30
    """Below it, and where the machine throttles for heat, energy counts more than deadlines."""
    critical_percent: Percent = 15
    """Below it only the graphs run that weigh most."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.critical_percent > self.low_percent:
            reject(
                f"expected at most `low_percent` ({self.low_percent}), got {self.critical_percent}",
                "$.critical_percent",
                self.critical_percent,
            )
        return self


class PowerBudget(_Common):
    """Over any window of time draw so much at most, by what the ledger says; what weighs least is left out for it."""

    kind: Literal["power-budget"]
    power_mw: Positive
    window_s: Positive = 600


Policy = Annotated[Fixed | MeetDeadlines | SaveEnergy | PowerBudget, Field(discriminator="kind")]
Acting = MeetDeadlines | SaveEnergy | PowerBudget
"""Those that do something."""
