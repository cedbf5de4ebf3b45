"""What all documents share: strict, frozen pydantic models, read from JSON or TOML, with errors that name the place."""

import ast
import errno
import json
import os
from collections.abc import Mapping
from inspect import cleandoc, getsource
from itertools import pairwise
from math import isfinite
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Any, NoReturn, Self, get_args

import pydantic
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetJsonSchemaHandler, ValidationError
from pydantic_core import PydanticCustomError

from leo_runtime.errors import DocumentError, InputError, did_you_mean

MAX_QUANTITY = 10**15

BUILT_WHEN_USED = tuple(map(int, pydantic.VERSION.split(".")[:2])) >= (2, 14)
"""Whether pydantic builds a model when it is first used, which takes half of what importing it took. Before 2.14 two
threads that used one first, at the same time, got in each other's way."""

_NOT_TOML = "documents are written as JSON: name it .json"

Quantity = Annotated[int, Field(ge=0, le=MAX_QUANTITY)]
"""A number of a document: an integer from 0 to 10^15; its unit is in the field's name."""

Positive = Annotated[int, Field(ge=1, le=MAX_QUANTITY)]


def _plain_rate(rate_hz: float) -> float:
    """A whole number as int, so that it is written, and named in messages, as it was given."""
    return int(rate_hz) if rate_hz.is_integer() else rate_hz


Rate = Annotated[float, Field(ge=0.001, le=MAX_QUANTITY), AfterValidator(_plain_rate)]
"""A rate in Hz, which need not be a whole number: 100.44, or 0.2 for a sample in five seconds."""


def _finite(value: Any) -> Any:
    """A value without an infinite number, or one that is none, in it: JSON, and so no document, has them."""
    _require_finite(value, "$")
    return value


def _require_finite(value: Any, path: str) -> None:
    if isinstance(value, float) and not isfinite(value):
        reject(f"expected a finite number, got {value}", path, value, hint="give a great one, such as 1e300")
    if isinstance(value, Mapping):
        for key, part in value.items():
            _require_finite(part, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            _require_finite(part, f"{path}[{index}]")


Finite = Annotated[float, AfterValidator(_finite)]
"""Any number that a document can hold."""

Plain = Annotated[dict[str, Any], AfterValidator(_finite)]
"""Plain values by name; what they mean is known to who reads them."""

Name = Annotated[str, Field(min_length=1)]

FILE_NAME = r"^[^.\x00-\x1f/\\][^\x00-\x1f/\\]*$"

FileName = Annotated[str, Field(min_length=1, max_length=100, pattern=FILE_NAME)]
"""A name of which the names of written files are made: it cannot lead out of their folder."""


def _require_path(given: str) -> str:
    if "\0" in given:
        reject("a path holds no zero bytes", "$", given)
    if given.startswith("~"):
        try:
            Path(given).expanduser()
        except RuntimeError:
            reject("there is no such user, or no home of his", "$", given, hint="write the path out")
    return given


PathName = Annotated[Name, AfterValidator(_require_path)]
"""A path as the system can take it, or the name of something that ships; `~` and `~user` stand for homes."""


class Value(BaseModel):
    """A frozen part of a document, compared by value. Unknown keys and wrong types are errors."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", defer_build=BUILT_WHEN_USED)

    def __init__(self, /, **data: Any) -> None:
        """From its fields. Raises `DocumentError`."""
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise document_error(type(self).__name__, error, type(self)) from None

    # Only what is built in Python comes through it: a part of a document that is read tells pydantic of its errors,
    # which then knows their place in the whole.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # a mark of pydantic's

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """For pydantic: the JSON Schema, with what the docstrings of fields say."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, said in field_docs(cls).items():
            if name in properties:
                properties[name].setdefault("description", said)
        return schema


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """What the docstrings of a model's fields say, by field; of those of which there is a source to be read.

    Pydantic has an option for that, which reads the sources of all models as they are imported.
    """
    found: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if issubclass(kind, Value) and kind is not Value:
            try:
                (made,) = ast.parse(dedent(getsource(kind))).body
            except (OSError, TypeError, SyntaxError, ValueError):
                continue
            body = getattr(made, "body", [])
            for field, said in pairwise([*body, None]):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    found.pop(field.target.id, None)
                    if isinstance(said, ast.Expr) and isinstance(said.value, ast.Constant):
                        found[field.target.id] = cleandoc(str(said.value.value))
    return found


class Document(Value):
    """A document of its own: it can be read from a file and written to one."""

    @classmethod
    def from_json(cls, text: str | bytes, source: str = "document") -> Self:
        """Read JSON text; `source` is what errors call it. Raises `DocumentError`."""
        if not isinstance(text, str | bytes):
            raise DocumentError(source, f"JSON text is a str or bytes, got {type(text).__name__}")
        text = _text(text, source)
        try:
            json.loads(text, object_pairs_hook=_no_repeated_keys, parse_constant=_no_number)
        except _RepeatedKeyError as error:
            raise DocumentError(source, f'the key "{error}" is given twice') from None
        except (ValueError, RecursionError) as error:
            raise DocumentError(source, f"not JSON ({error})") from None
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise document_error(source, error, cls) from None

    @classmethod
    def from_toml(cls, text: str, source: str = "document") -> Self:
        """Read TOML text; `source` is what errors call it. Raises `DocumentError`."""
        if not isinstance(text, str):
            raise DocumentError(source, f"TOML text is a str, got {type(text).__name__}")
        try:
            import tomllib  # For documents as TOML alone.

            data = tomllib.loads(_text(text, source))
        except (ValueError, RecursionError) as error:  # Not TOML, or a number of thousands of digits.
            raise DocumentError(source, f"not TOML ({error})") from None
        return cls.from_dict(data, source)

    @classmethod
    def from_dict(cls, data: dict[str, Any], source: str = "document") -> Self:
        """Build from plain values as JSON or TOML give them. Raises `DocumentError`."""
        try:
            # By way of JSON text, so that an array becomes a tuple while every other type stays strict.
            text = json.dumps(data)
        except (TypeError, ValueError, RecursionError) as error:
            says = f"a value that JSON has no form for ({error})"
            raise DocumentError(source, says, _place_of_none(data)) from None
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise document_error(source, error, cls) from None

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a `.toml` file, or JSON from any other. Raises `DocumentError`."""
        require_path(path)
        try:
            raw = Path(path).read_bytes()
        except OSError as error:
            raise DocumentError(str(path), f"cannot be read ({error.strerror or error})") from None
        except ValueError as error:  # A name that no file can have.
            raise DocumentError(str(path), f"cannot be read ({error})") from None
        text = _text(raw, str(path))
        return (cls.from_toml if Path(path).suffix == ".toml" else cls.from_json)(text, str(path))

    def to_json(self) -> str:
        """The document as JSON text, one trailing newline, what is at its default left out."""
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True), indent=1, ensure_ascii=False) + "\n"

    def to_file(self, path: str | Path) -> None:
        """Write the document as JSON, and make its folder.

        Raises `DocumentError` when it cannot, or for a `.toml`; what the file held is then still there.
        """
        if Path(path).suffix == ".toml":
            raise DocumentError(str(path), _NOT_TOML)
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_whole(Path(path), self.to_json().encode())
        except OSError as error:
            raise DocumentError(str(path), f"cannot be written ({error.strerror or error})") from None


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, in place of what it held, as soon as all of it is on the disk. Raises `OSError`."""
    file = Path(os.path.realpath(path))
    if file.exists() and not file.is_file():  # A device or a pipe has nothing to lose.
        file.write_bytes(content)
        return
    beside = file.with_name(f".{file.name[:100]}.{os.getpid()}.part")
    try:
        part = beside.open("xb")
    except OSError:  # The file may be written to, its folder not.
        file.write_bytes(content)
        return
    try:
        with part:
            part.write(content)
        if file.exists():
            import shutil  # For files that are replaced alone.

            shutil.copymode(file, beside)
        beside.replace(file)
    except BaseException:  # An interrupt is one of them.
        beside.unlink(missing_ok=True)
        raise


def write_content(path: Path, content: bytes) -> None:
    """`write_whole` of a file that a user has named. Raises `InputError` where that cannot be."""
    try:
        write_whole(path, content)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})", hint="write elsewhere") from None


def _place_of_none(data: object) -> str:
    """Where in plain values the first one is that JSON has no form for, such as a date of TOML."""
    path, inside = "$", data
    while True:
        if isinstance(inside, dict):
            inner = [(f".{key}", value) for key, value in inside.items()]
        elif isinstance(inside, list | tuple):
            inner = [(f"[{at}]", value) for at, value in enumerate(inside)]
        else:
            return path
        for place, value in inner:
            try:
                json.dumps(value)
            except (TypeError, ValueError):
                path, inside = f"{path}{place}", value
                break
            except RecursionError:  # Of what is so deep no place is worth reading.
                return path
        else:
            return path


def _text(given: str | bytes, source: str) -> str:
    """Text of UTF-8, without the mark of the byte order that some editors begin it with. Raises `DocumentError`."""
    try:
        text = given if isinstance(given, str) else given.decode()
    except UnicodeDecodeError as error:
        raise DocumentError(
            source, f"not UTF-8 text ({error.reason} at byte {error.start})", hint="save it as UTF-8"
        ) from None
    return text.removeprefix("\ufeff")


def require_path(path: object) -> None:
    """Raise `InputError` for what is no file's name."""
    if not isinstance(path, str | Path):
        raise InputError(f"a file is named by a str or a Path, got {type(path).__name__}")


def require_writable(path: Path, *read: str | Path | None, toml: bool = False) -> None:
    """Make the folder of a file that is to be written. Raises `InputError` when the file could not be written there.

    To be called before long work whose result goes there. It is none of those that are `read`, under whatever name:
    None, and what is no file, is nothing that could be lost. `toml`: whether it may be a `.toml`.
    """
    if path.suffix == ".toml" and not toml:
        raise InputError(f"{path}: {_NOT_TOML}")
    if "\0" in str(path):
        raise InputError(f"{str(path)!r} is a name that no file can have", hint="name it without a zero byte")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        sources = [Path(other) for other in read if other is not None]
        if path.is_file() and any(path.samefile(source) for source in sources if source.exists()):
            raise InputError(f"{path}: is what is read, and would be lost", hint="write to another file")
    except OSError as error:
        # mkdir calls a file that stands where a folder should be one that exists.
        why = os.strerror(errno.ENOTDIR) if isinstance(error, FileExistsError) else error.strerror
        raise InputError(
            f"{path}: cannot be written ({why})", hint="name a file in a folder you may write to"
        ) from None


def reject(problem: str, path: str, value: object, *, hint: str = "") -> NoReturn:
    """Refuse a value from inside a model's validator; `path` is its place within that model, `$` for the model."""
    context = {"problem": problem, "path": path, "value": _shown(value), "hint": hint}
    raise PydanticCustomError("leo", "{problem}", context)


def require_rate(kind: str, rate_hz: float) -> None:
    """Refuse a stream without a rate, and one of events that has one, from inside its validator."""
    if kind == "events" and rate_hz:
        reject(f"a stream of events has no rate, got {rate_hz:g}", "$.rate_hz", rate_hz)
    if kind != "events" and not rate_hz:
        reject('the key "rate_hz" is missing', "$.rate_hz", None)


def unique(names: list[str], path: str, what: str = "name") -> None:
    """Refuse the second of two equal names; `path` is a format with one place for the index."""
    seen: set[str] = set()
    for index, name in enumerate(names):
        if name in seen:
            reject(f'the {what} "{name}" is given twice', path.format(index), name)
        seen.add(name)


def find_cycle(edges: dict[str, list[str]]) -> list[str]:
    """One cycle of a directed graph as a list of its nodes, or an empty list. Order of `edges` decides which."""
    state: dict[str, int] = {}
    for root in edges:
        if root in state:
            continue
        path, stack = [root], [iter(edges[root])]
        state[root] = 1
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
                state[path.pop()] = 2
            elif state.get(step) == 1:
                return path[path.index(step) :]
            elif step not in state:
                state[step] = 1
                path.append(step)
                stack.append(iter(edges[step]))
    return []


def document_error(source: str, error: ValidationError, model: type[BaseModel] | None = None) -> DocumentError:
    """The first thing pydantic found wrong, in this project's words; of the model's keys where one is unknown."""
    first = error.errors(include_url=False)[0]
    context = first.get("ctx", {})
    loc, within = _place(model, first["loc"])
    path = "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc if part != "[key]")
    if first["type"] == "leo":
        # Its path begins at the part of the document whose validator refused it.
        place = path + context["path"][1:]
        return DocumentError(source, context["problem"], place, context["value"], hint=context["hint"])
    if first["type"] == "json_invalid":
        # The input is the whole text: the reason names line and column.
        return DocumentError(source, f"not JSON ({context['error']})")
    if callable(getattr(first["input"], "build", None)):
        builder = type(first["input"]).__name__
        problem = f"expected what a {builder} builds, got the {builder} itself"
        return DocumentError(source, problem, path, builder, hint="give what its .build() returns")
    shown = _shown(first["input"])
    match first["type"]:
        case "missing":
            return DocumentError(source, f'the key "{first["loc"][-1]}" is missing', path)
        case "extra_forbidden":
            problem = f'the key "{first["loc"][-1]}" is unknown (its value is {shown})'
            return DocumentError(source, problem, path, shown, hint=_known_keys(within, str(loc[-1]), model))
        case "int_type" | "int_from_float" | "int_parsing":
            return DocumentError(source, f"expected an integer, got {shown}", path, shown)
        case "tuple_type" | "list_type":
            one = isinstance(first["input"], str | int | float)
            return DocumentError(
                *(source, f"expected a list, got {shown}", path, shown), hint=f"in brackets: [{shown}]" * one
            )
        case "greater_than_equal":
            return DocumentError(source, f"expected at least {context['ge']}, got {shown}", path, shown)
        case "less_than_equal":
            return DocumentError(source, f"expected at most {context['le']}, got {shown}", path, shown)
        case "too_short":
            return DocumentError(source, f"expected at least one, got {shown}", path, shown)
        case "string_pattern_mismatch" if context["pattern"] == FILE_NAME:
            says = "files are named after it, so it may not begin with a dot or hold a slash, backslash or control"
            return DocumentError(source, f"{says} character, got {shown}", path, shown)
        case "string_pattern_mismatch":
            return DocumentError(source, f"expected what matches {context['pattern']}, got {shown}", path, shown)
        case "literal_error":
            return DocumentError(source, f"expected {context['expected']}, got {shown}", path, shown)
        case "union_tag_not_found":
            key = context["discriminator"].strip("'")
            return DocumentError(source, f'the key "{key}" is missing', path)
        case "union_tag_invalid":
            key, tags = context["discriminator"].strip("'"), context["expected_tags"].replace("'", "").split(", ")
            problem = f'expected a {key} that there is, got "{context["tag"]}"'
            hint = did_you_mean(context["tag"], tags)
            return DocumentError(source, problem, f"{path}.{key}", context["tag"], hint=hint)
        case _:
            says = first["msg"][0].lower() + first["msg"][1:]
            return DocumentError(source, f"{says}, got {shown}", path, shown)


def _place(
    model: type[BaseModel] | None, loc: tuple[int | str, ...]
) -> tuple[tuple[int | str, ...], type[BaseModel] | None]:
    """Where in a document something is, and the model of the part that holds it; None where that cannot be told.

    Of models that are told apart by a key, pydantic says which one it took, as if that were a part of the document.
    """
    place: list[int | str] = []
    models = [] if model is None else [model]
    for number, part in enumerate(loc):
        if isinstance(part, str) and len(models) > 1 and (tagged := [one for one in models if _has_tag(one, part)]):
            models = tagged
            continue
        place.append(part)
        if isinstance(part, int) or number == len(loc) - 1:
            continue
        fields = models[0].model_fields if len(models) == 1 else {}
        models = _models_in(fields[part].annotation) if part in fields else []
    return tuple(place), models[0] if len(models) == 1 else None


def _has_tag(model: type[BaseModel], tag: str) -> bool:
    """Whether one of a model's keys is always that."""
    return any(get_args(field.annotation) == (tag,) for field in model.model_fields.values())


def _known_keys(model: type[BaseModel] | None, unknown: str, document: type[BaseModel] | None) -> str:
    """What may stand in place of an unknown key: what is called nearly as it, else all; empty: it cannot be told.

    Where the key is one of the whole document's, it is told to stand there.
    """
    if model is None or not model.model_fields:
        return ""
    if document is not None and model is not document and unknown in document.model_fields:
        return f'"{unknown}" is a key of the document itself: in TOML it stands above all tables'
    from difflib import get_close_matches  # For wrong names alone.

    near = get_close_matches(unknown, model.model_fields, n=1)
    return f'did you mean "{near[0]}"?' if near else f"known are {', '.join(model.model_fields)}"


def _models_in(annotation: object) -> list[type[BaseModel]]:
    """The models that a field's type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


class _RepeatedKeyError(Exception):
    pass


def _no_number(constant: str) -> object:
    """What Python writes, and no other reader of JSON takes. Raises `ValueError`."""
    raise ValueError(f"{constant} is no number there")


def _no_repeated_keys(pairs: list[tuple[str, Any]]) -> None:
    keys: set[str] = set()
    for key, _ in pairs:
        if key in keys:
            raise _RepeatedKeyError(key)
        keys.add(key)


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 80 else text[:77] + "..."
