"""`leo-runtime schema`: the JSON Schema of a document."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leo_runtime.command.shared import DONE, put
from leo_runtime.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel

EXAMPLE = "schema problem"

JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"

DOCUMENTS = {
    "problem": ("leo_runtime.documents.problem", "Problem"),
    "placement": ("leo_runtime.documents.problem", "Placement"),
    "window": ("leo_runtime.documents.window", "WindowProblem"),
    "window-placement": ("leo_runtime.documents.window", "WindowPlacement"),
    "memory": ("leo_runtime.documents.memory", "MemoryProblem"),
    "memory-placement": ("leo_runtime.documents.memory", "MemoryPlacement"),
    "workload": ("leo_runtime.documents.workload", "Workload"),
    "hardware": ("leo_runtime.documents.hardware", "Hardware"),
    "profile": ("leo_runtime.documents.profile", "Profile"),
    "recording": ("leo_runtime.recordings.recording", "RecordingManifest"),
    "daemon": ("leo_runtime.daemon.config", "DaemonConfig"),
    "study": ("leo_runtime.study.document", "Study"),
    "log": ("leo_runtime.replay.log_lines", "LogLine"),
    "replay": ("leo_runtime.report.replay_figures", "Replays"),
}
"""Every kind of document and the model that reads it, by the name in its format (`window`: the second format,
`memory`: the third; `log`: any line of one; `replay`: what `replay --json` prints)."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    name: str | None


def add(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    says = f"one of {', '.join(DOCUMENTS)}; without it, the list"
    parser.add_argument("name", metavar="NAME", nargs="?", help=says)


def run(request: Request) -> int:
    """Print the schema, or the names of all documents. Returns the exit status."""
    if request.name is None:
        put("\n".join(DOCUMENTS) + "\n")
        return DONE
    if request.name not in DOCUMENTS:
        raise InputError(f"no document is called `{request.name}`", hint=did_you_mean(request.name, DOCUMENTS))
    schema = {"$schema": JSON_SCHEMA, **document_model(request.name).model_json_schema()}
    if request.name == "workload":
        _describe_parameters(schema)
    put(json.dumps(schema, indent=1, ensure_ascii=False) + "\n")
    return DONE


def _describe_parameters(schema: dict[str, Any]) -> None:
    """Say what the parameters of each built-in operator are: of a stage, and of its variants.

    None is required there, since a stage and its variant may each give some.
    """
    from leo_runtime.operators import BUILT_IN

    kinds = schema["$defs"]["Stage"]["allOf"] = []
    for operator in BUILT_IN:
        parameters = operator.parameters.model_json_schema()
        parameters.pop("required", None)
        schema["$defs"] |= parameters.pop("$defs", {})
        schema["$defs"][operator.parameters.__name__] = parameters
        given = {"properties": {"params": {"$ref": f"#/$defs/{operator.parameters.__name__}"}}}
        then = {"properties": {**given["properties"], "variants": {"items": given}}}
        kinds.append({"if": {"properties": {"operator": {"const": operator.name}}}, "then": then})


def document_model(name: str) -> type[BaseModel]:
    """The model of a kind of document, one of `DOCUMENTS`."""
    from importlib import import_module

    module, model = DOCUMENTS[name]
    found: type[BaseModel] = getattr(import_module(module), model)
    return found
