"""Templates filled in, by jinja2, which is imported when the first page is made. What they are given is escaped."""

from __future__ import annotations

import base64
import hashlib
import math
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from leo_runtime.errors import DocumentError, MissingExtraError, printable
from leo_runtime.report.page.elements import Markup

_HERE = Path(__file__).parent


def page(template: str, **values: object) -> str:
    """A whole page, of the same bytes for the same values. Raises `MissingExtraError` without jinja2."""
    text: str = _environment().get_template(template).render(**values)
    return text


def require_jinja2() -> None:
    """Raise `MissingExtraError` where no page can be made. To be called before long work that ends in one."""
    _jinja2()


def write_page(path: Path, text: str) -> None:
    """Write a page. Raises `DocumentError` where that cannot be done."""
    try:
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise DocumentError(str(path), f"cannot be written ({error.strerror or error})") from None


def _jinja2() -> Any:
    try:
        return import_module("jinja2")
    except ModuleNotFoundError:
        raise MissingExtraError("making a page", "page") from None


@cache
def _environment() -> Any:
    jinja2 = _jinja2()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE, encoding="utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    environment.globals["math_inf"] = math.inf
    environment.globals["script"] = Markup(script)
    environment.globals["style"] = Markup((_HERE / "page.css").read_text(encoding="utf-8"))
    digest = hashlib.sha256(script.encode()).digest()
    environment.globals["script_hash"] = Markup("sha256-" + base64.b64encode(digest).decode())
    return environment


def _shown(value: object) -> object:
    """What a template writes, before it is escaped: what cannot be seen of a text is written as its escape."""
    return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
