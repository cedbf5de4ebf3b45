"""What the machine is: the document `leo-hardware/1` (processors, radios, the links between processors, and what
weights are loaded from).

A figure comes from somewhere: `sources` of each part maps a field's name to a citation, or to a text that begins
with `modelled`, which marks a modelling choice.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from leo_runtime.errors import did_you_mean
from leo_runtime.schema import Document, FileName, Name, Plain, Positive, Quantity, Value, reject, unique

Sources = dict[Name, str]


class Processor(Value):
    """What runs stages, on one or more equal lanes."""

    name: Name
    backend: Name
    """The backend that runs its stages, by the name of its entry point."""
    options: Plain = Field(default_factory=dict)
    """What the backend wants to know, such as an OpenCL device or the number of threads."""
    remote: bool = False
    """It is elsewhere, such as in the cloud: no sensor is there, but one that a workload puts there by `on`."""
    lanes: Positive = 1
    memory_bytes: Quantity | None = None
    """What the weights and outputs of one frame's stages that run here take together at most; None: no limit. Where a
    loader leads here, it is what weights that are there and outputs of all frames take together at any time."""
    active_mw: Quantity = 0
    """Drawn by each lane while it runs a stage, unless the profile says otherwise."""
    awake_mw: Quantity = 0
    """Drawn while awake, whatever runs."""
    asleep_mw: Quantity = 0
    wake_latency_us: Quantity = 0
    wake_energy_nj: Quantity = 0
    idle_timeout_us: Quantity | None = None
    """How long it stays awake with nothing to do; None: it never sleeps."""
    sources: Sources = Field(default_factory=dict)


class Radio(Value):
    """What a link may send over. Waking it is the promotion of the field's papers; `tail_us` follows the last use."""

    name: Name
    lanes: Positive = 1
    awake_mw: Quantity = 0
    wake_latency_us: Quantity = 0
    wake_energy_nj: Quantity = 0
    tail_us: Quantity = 0
    tail_mw: Quantity = 0
    sources: Sources = Field(default_factory=dict)


class Link(Value):
    """How the output of a stage on processor `source` reaches processor `target`."""

    source: Name
    target: Name
    latency_us: Quantity = 0
    bytes_per_s: Positive | None = None
    """None: the size does not matter (shared memory)."""
    energy_nj: Quantity = 0
    energy_pj_per_byte: Quantity = 0
    radio: Name | None = None
    sources: Sources = Field(default_factory=dict)


class Store(Value):
    """What keeps weights that are in no processor's memory, such as flash. A load occupies a lane of it."""

    name: Name
    lanes: Positive = 1
    awake_mw: Quantity = 0
    """Drawn while awake, whatever is loaded."""
    asleep_mw: Quantity = 0
    wake_latency_us: Quantity = 0
    wake_energy_nj: Quantity = 0
    idle_timeout_us: Quantity | None = None
    """How long it stays awake with nothing to do; None: it never sleeps."""
    sources: Sources = Field(default_factory=dict)


class StoreLoader(Value):
    """How weights get from a store into the memory of processor `target`, which has no other loader."""

    target: Name
    store: Name
    bytes_per_s: Positive
    latency_us: Quantity = 0
    """From when a load has left the store's lane until it is there."""
    energy_nj: Quantity = 0
    energy_pj_per_byte: Quantity = 0
    sources: Sources = Field(default_factory=dict)


class Hardware(Document):
    """A machine. Raises what `Document` raises, with the place, on anything that breaks the format."""

    format: Literal["leo-hardware/1"]
    name: FileName
    processors: tuple[Processor, ...]
    radios: tuple[Radio, ...] = ()
    links: tuple[Link, ...] = ()
    stores: tuple[Store, ...] = ()
    loaders: tuple[StoreLoader, ...] = ()
    """Where one leads, weights are loaded before a stage runs, unless they are still there. None: they are at hand."""
    battery_nj: int = Field(default=0, ge=0)
    """What a full battery holds; 0: none, or not known."""
    sources: Sources = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        processors = {processor.name for processor in self.processors}
        radios = {radio.name for radio in self.radios}
        unique([part.name for part in self.processors], "$.processors[{}].name")
        unique([radio.name for radio in self.radios], "$.radios[{}].name")
        for r, radio in enumerate(self.radios):
            if radio.name in processors:
                reject(f'a processor is already called "{radio.name}"', f"$.radios[{r}].name", radio.name)
        pairs: set[tuple[str, str]] = set()
        for k, link in enumerate(self.links):
            for end, name in (("source", link.source), ("target", link.target)):
                if name not in processors:
                    hint = did_you_mean(name, [processor.name for processor in self.processors])
                    reject(f'no processor is called "{name}"', f"$.links[{k}].{end}", name, hint=hint)
            if link.source == link.target:
                reject(f'a link needs two processors, got "{link.source}" twice', f"$.links[{k}].target", link.target)
            if (link.source, link.target) in pairs:
                reject(
                    f'the link "{link.source} -> {link.target}" is given twice',
                    f"$.links[{k}]",
                    f"{link.source} -> {link.target}",
                    hint=f"for a second way to the same place give it a second name, such as `{link.target}-2`",
                )
            pairs.add((link.source, link.target))
            if link.radio is not None and link.radio not in radios:
                hint = did_you_mean(link.radio, [radio.name for radio in self.radios])
                reject(f'no radio is called "{link.radio}"', f"$.links[{k}].radio", link.radio, hint=hint)
        self._check_stores(processors, radios)
        return self

    def _check_stores(self, processors: set[str], radios: set[str]) -> None:
        stores = [store.name for store in self.stores]
        unique(stores, "$.stores[{}].name")
        for s, name in enumerate(stores):
            for names, what in ((processors, "processor"), (radios, "radio")):
                if name in names:
                    reject(f'a {what} is already called "{name}"', f"$.stores[{s}].name", name)
        unique([loader.target for loader in self.loaders], "$.loaders[{}].target", "target")
        for k, loader in enumerate(self.loaders):
            if loader.target not in processors:
                hint = did_you_mean(loader.target, [processor.name for processor in self.processors])
                reject(f'no processor is called "{loader.target}"', f"$.loaders[{k}].target", loader.target, hint=hint)
            if loader.store not in stores:
                hint = did_you_mean(loader.store, stores) if stores else "`stores` say what weights are loaded from"
                reject(f'no store is called "{loader.store}"', f"$.loaders[{k}].store", loader.store, hint=hint)

    @property
    def resources(self) -> tuple[Processor | Radio | Store, ...]:
        """All that can be occupied: processors, radios, stores."""
        return (*self.processors, *self.radios, *self.stores)

    @property
    def idling(self) -> tuple[Processor | Store, ...]:
        """What sleeps by an idle timeout, if at all; a radio has a tail."""
        return (*self.processors, *self.stores)

    def processor(self, name: str) -> Processor:
        """The processor of that name. Raises `KeyError`."""
        for processor in self.processors:
            if processor.name == name:
                return processor
        raise KeyError(name)
