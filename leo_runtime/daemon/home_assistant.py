"""What Home Assistant is told over MQTT of graphs, so that it makes a device of the daemon by itself. Pure.

Discovery is retained JSON at `PREFIX/COMPONENT/NODE/OBJECT/config`; empty, it takes the entity away. Of every graph
that decides, there is a binary sensor that is on when its decision fired, a sensor of the label that was found, and one
of the score, which Home Assistant does not enable by itself: it changes with every answer.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING, Any

from leo_runtime.frozen import dataclass
from leo_runtime.version import VERSION

if TYPE_CHECKING:
    from leo_runtime.documents.workload import TaskGraph, Workload

ORIGIN = "leo-runtime"
ONLINE, OFFLINE, FIRED = "online", "offline", "ON"


@dataclass(frozen=True, slots=True)
class Topics:
    """Where the daemon publishes, below a topic of its own."""

    node: str
    """The daemon's name, which no other on the same broker has."""
    base: str = ORIGIN

    @property
    def availability(self) -> str:
        """`online`, retained; the broker says `offline` where the daemon is gone."""
        return f"{self.base}/{self.node}/availability"

    def answer(self, graph: str) -> str:
        """Every answer of a graph, as JSON."""
        return f"{self.base}/{self.node}/{identifier(graph)}"

    def fired(self, graph: str) -> str:
        """`ON`, each time the graph's decision fires."""
        return f"{self.answer(graph)}/fired"


def identifier(name: str) -> str:
    """The same name in letters, digits, `_` and `-`; one that was changed for that has a number that tells it apart."""
    plain = re.sub(r"[^a-zA-Z0-9_-]", "_", name)
    return plain if plain == name else f"{plain}-{zlib.crc32(name.encode()):08x}"


def discovery(workload: Workload, topics: Topics, prefix: str, on_s: int) -> dict[str, str]:
    """By topic what is to be retained there; a decision that fired is shown for `on_s` seconds."""
    device = {
        "identifiers": [f"{ORIGIN}-{topics.node}"],
        "name": f"{ORIGIN} {topics.node}",
        "manufacturer": ORIGIN,
        "model": workload.name,
        "sw_version": VERSION,
    }
    shared = {
        "availability_topic": topics.availability,
        "device": device,
        "origin": {"name": ORIGIN, "sw_version": VERSION},
        "qos": 1,
    }
    return {
        f"{prefix}/{component}/{topics.node}/{identifier(graph.name)}_{kind}/config": json.dumps(
            {"unique_id": f"{ORIGIN}-{topics.node}-{graph.name}-{kind}", **entity, **shared}, ensure_ascii=False
        )
        for graph in workload.graphs
        if graph.decision is not None
        for component, kind, entity in _entities(graph, topics, on_s)
    }


def of_any_node(prefix: str, node: str) -> str:
    """A filter of topics: all entities that a node has told of."""
    return f"{prefix}/+/{node}/+/config"


def is_own(payload: bytes) -> bool:
    """Whether a retained configuration is one that this program wrote."""
    try:
        told = json.loads(payload)
    except ValueError:
        return False
    origin = told.get("origin") if isinstance(told, dict) else None
    return isinstance(origin, dict) and origin.get("name") == ORIGIN


def _entities(graph: TaskGraph, topics: Topics, on_s: int) -> list[tuple[str, str, dict[str, Any]]]:
    """Component, kind, and what it is made of."""
    fired = {"name": graph.name, "state_topic": topics.fired(graph.name), "payload_on": FIRED, "off_delay": on_s}
    label = {
        "name": f"{graph.name} label",
        "state_topic": topics.answer(graph.name),
        "value_template": "{{ value_json.label or 'none' }}",
    }
    # Home Assistant passes over a template that gives nothing: no number is no score.
    score = {
        "name": f"{graph.name} score",
        "state_topic": topics.answer(graph.name),
        "value_template": "{% if value_json.score is not none %}{{ value_json.score }}{% endif %}",
        "state_class": "measurement",
        "entity_category": "diagnostic",
        "enabled_by_default": False,
    }
    return [("binary_sensor", "fired", fired), ("sensor", "label", label), ("sensor", "score", score)]
