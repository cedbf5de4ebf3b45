"""A device and a server, whose radio is the way between them, and a pipeline that is cheapest on the server."""

from __future__ import annotations

from leo_runtime.documents.graph_builder import GraphBuilder
from leo_runtime.documents.hardware import Hardware
from leo_runtime.documents.profile import Profile
from leo_runtime.documents.workload import Workload

PERIOD_US = 100_000
DEADLINE_US = 80_000


def workload(graph: GraphBuilder | None = None) -> Workload:
    """A frame of 1,000 bytes a tenth of a second; what is made of it there is read here."""
    if graph is None:
        graph = GraphBuilder("ears", period_us=PERIOD_US, deadline_us=DEADLINE_US)
        sound = graph.stage("sound", "cost", output_bytes=1000)
        mel = graph.stage("mel", "cost", sound, output_bytes=1000)
        net = graph.stage("net", "cost", mel, output_bytes=100)
        graph.stage("say", "cost", net, output_bytes=8)
    return Workload.from_dict(
        {"format": "leo-workload/1", "name": "split", "streams": [], "graphs": [graph.build().model_dump(mode="json")]}
    )


def hardware(*, radios: int = 1) -> Hardware:
    """The device, and a server over one radio or several, each as a processor of its own."""
    names = [f"cloud{number or ''}" for number in range(radios)]
    return Hardware.from_dict(
        {
            "format": "leo-hardware/1",
            "name": "split",
            "processors": [
                {"name": "cpu", "backend": "fake", "active_mw": 2000, "awake_mw": 10},
                *({"name": name, "backend": "fake", "remote": True} for name in names),
            ],
            "radios": [{"name": f"radio-{name}", "awake_mw": 500, "tail_mw": 100, "tail_us": 20_000} for name in names],
            "links": [
                {
                    "source": one,
                    "target": other,
                    "latency_us": 2000 * (1 + number),
                    "bytes_per_s": 1_000_000,
                    "energy_pj_per_byte": 100_000,
                    "radio": f"radio-{name}",
                }
                for number, name in enumerate(names)
                for one, other in (("cpu", name), (name, "cpu"))
            ],
        }
    )


def profile(*, radios: int = 1, only_here: tuple[str, ...] = ("sound", "say")) -> Profile:
    """Whatever is not `only_here` takes a tenth of the time on a server, and nothing of the device's energy."""
    stages = {"sound": 500, "mel": 10_000, "net": 30_000, "say": 500}
    places = ["cpu", *(f"cloud{number or ''}" for number in range(radios))]
    return Profile.from_dict(
        {
            "format": "leo-profile/1",
            "name": "split",
            "hardware": "split",
            "costs": [
                {
                    "stage": stage,
                    "processor": place,
                    "fixed_us": us if place == "cpu" else us // 10,
                    "source": "modelled: a test",
                }
                for stage, us in stages.items()
                for place in places
                if place == "cpu" or stage not in only_here
            ],
        }
    )
