"""Reads the options of a processor, strictly: an unknown key or a wrong value is an error that names it."""

from __future__ import annotations

import json
from typing import TypeVar

from pydantic import ValidationError

from leo_runtime.documents.hardware import Processor
from leo_runtime.schema import Value, document_error

Options = TypeVar("Options", bound=Value)


def read_options(processor: Processor, options: type[Options]) -> Options:
    """The processor's options as the backend's own model. Raises `DocumentError`."""
    try:
        return options.model_validate_json(json.dumps(processor.options))
    except ValidationError as error:
        raise document_error(f"options of processor `{processor.name}`", error) from None
