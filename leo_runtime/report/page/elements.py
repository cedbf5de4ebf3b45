"""Markup made of elements: every text and every value in it is escaped, wherever it came from."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Self

from leo_runtime.errors import printable


class Markup(str):
    """Text that is markup already. Templates take it as it is (`__html__`); any other text they escape."""

    __slots__ = ()

    def __html__(self) -> Self:
        """Itself."""
        return self


def element(name: str, *children: str, **attributes: object) -> Markup:
    """An element, of a name that is no document's. Children that are no `Markup` are escaped, and all attributes are.

    An attribute that is None is left out. `_` in its name is written `-`, and one at the end is dropped: `class_`.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{safe(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = joined(children)
    return Markup(f"<{name}{given}>{inner}</{name}>" if inner else f"<{name}{given}/>")


def joined(children: Iterable[str]) -> Markup:
    """Some markup after another; what is no `Markup` is escaped."""
    return Markup("".join(child if isinstance(child, Markup) else safe(child) for child in children))


def safe(text: str) -> str:
    """A text as it is written in markup, what cannot be seen of it as its escape."""
    return escape(printable(text))


def chart(svg_id: str, title: str, description: str, *children: str, height: float, class_: str = "chart") -> Markup:
    """A drawing that is as wide as its place: lengths across are in percent, so that letters keep their shape.

    `svg_id` is unique on its page. The description is what those who do not see it are told.
    """
    return element(
        "svg",
        element("title", title, id=f"{svg_id}-t"),
        element("desc", description, id=f"{svg_id}-d"),
        *children,
        id=svg_id,
        class_=class_,
        role="img",
        aria_labelledby=f"{svg_id}-t {svg_id}-d",
        width="100%",
        height=fixed(height, 1),
    )


def fixed(value: float, decimals: int = 2) -> str:
    """A number as markup has it: so many decimals, without zeros at the end."""
    text = f"{value:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def percent(part: float, whole: float) -> str:
    """Where something is across a chart: so exact that it holds where that is drawn a hundred times as wide."""
    return f"{fixed(100 * part / whole if whole else 0, 4)}%"
