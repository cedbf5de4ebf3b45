"""Reads a page as a browser would, strictly: every element is closed, every id is there once."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "br", "hr", "img", "input", "link", "col"}
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
"""What systems call it."""


def chromium() -> str | None:
    """The system's Chromium; None: it has none."""
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


@dataclass
class Element:
    """An element with what is in it."""

    name: str
    attributes: dict[str, str | None]
    children: list[Element] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it, in order of depth; script and style, too."""
        return " ".join([*self.texts, *(child.text for child in self.children)]).strip()

    def all(self, name: str, **attributes: str) -> list[Element]:
        """Every element of that name below, with these attributes; `class_` is one of its classes."""
        found = []
        for child in self.children:
            if child.name == name and all(_has(child, key, value) for key, value in attributes.items()):
                found.append(child)
            found += child.all(name, **attributes)
        return found

    def one(self, name: str, **attributes: str) -> Element:
        """The only one."""
        (found,) = self.all(name, **attributes)
        return found


def _has(element: Element, key: str, value: str) -> bool:
    if key == "class_":
        return value in (element.attributes.get("class") or "").split()
    return element.attributes.get(key) == value


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, attrs)
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        is_drawn = tag == "svg" or any(element.name == "svg" for element in self.open)
        assert is_drawn or tag in VOID, f"<{tag}/> is not closed in HTML"
        self.open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].name == tag, f"</{tag}> ends <{self.open[-1].name}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].texts.append(data)


def read(text: str) -> Element:
    """A page as elements. Fails where one is not closed, an id comes twice, or something else would be loaded."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == [reader.root], [element.name for element in reader.open]
    ids = re.findall(r'\sid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    root = reader.root
    for name in ("link", "iframe", "object", "embed", "base", "form"):
        assert not root.all(name)
    for script in root.all("script"):
        assert "src" not in script.attributes
    for link in root.all("a"):
        assert (link.attributes["href"] or "").startswith("#")
        assert (link.attributes["href"] or "")[1:] in ids
    for drawing in root.all("svg", role="img"):
        title, description = (drawing.attributes["aria-labelledby"] or "").split()
        assert drawing.children[0].attributes["id"] == title
        assert drawing.children[1].attributes["id"] == description
        assert drawing.children[0].text
        assert drawing.children[1].text
    return root


def rows(table: Element) -> list[list[str]]:
    """What stands in a table's body."""
    (body,) = table.all("tbody")
    return [[cell.text for cell in row.children] for row in body.all("tr")]
