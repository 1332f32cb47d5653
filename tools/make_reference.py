"""Write ``docs/python.md``, every public name with its signature and docstring, from the package itself."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, ForwardRef

import patchcli
from patchcli.geometry.axis import EDGES
from patchcli.images.metadata import COLOURS, EXTRA, MAX_FIELDS, METERS, MOST_NUMBER, OWN_PAGES, UNITS
from patchcli.patches.padded import PAD_MODES
from patchcli.patches.windows import NAMES
from patchcli.stacks.layouts import LAYOUTS

REFERENCE = Path(__file__).parent.parent / "docs" / "python.md"
WORDS: dict[str, Collection[str] | float] = {  # what docstrings name that no reader can look up: words of a table, limits
    "COLOURS": COLOURS,
    "EDGES": EDGES,
    "EXTRA": EXTRA,
    "LAYOUTS": LAYOUTS,
    "MAX_FIELDS": MAX_FIELDS,
    "METERS": METERS,
    "MOST_NUMBER": MOST_NUMBER,
    "OWN_PAGES": (OWN_PAGES,),
    "PAD_MODES": PAD_MODES,
    "UNITS": UNITS,
    "patchcli.patches.windows.NAMES": NAMES,
}
SECTIONS = {"Args": "Parameters", "Attributes": "Attributes", "Returns": "Returns", "Raises": "Raises"}
WIDEST, PROSE = 100, 130
WRAP: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
BEGINNING = """# Python

[All pages](README.md). See also: [patches](patches.md), [crops](crop.md), [map](map.md), [commands](commands.md).

`import patchcli` gives the functions of the command line for arrays. It loads neither Click nor an image library, and all of it
is typed. Written by `make manual` from the docstrings, whose examples are run by the tests. What is public, and for how long it
stays, is in [versions.md](versions.md).

Rows come before columns everywhere. `Pair` is a tuple of two ints, (rows, columns); `ArrayLike` and `DTypeLike` are numpy's, so
that lists do as well as arrays. An array that was given is never changed.
"""


def text() -> str:
    """The reference as the package describes itself.

    Raises:
        ValueError: a public name, method or property has no docstring.
    """
    names = [name for name in patchcli.__all__ if name != "__version__"]
    classes = [name for name in names if inspect.isclass(getattr(patchcli, name))]
    functions = [name for name in names if name not in classes]
    parts = [BEGINNING, "## Functions\n", _contents(functions)]
    parts += [part for name in functions for part in _described(name, getattr(patchcli, name))]
    parts += ["## Classes\n", _contents(classes)]
    for name in classes:
        parts += _described(name, getattr(patchcli, name))
        parts += [part for member in _members(getattr(patchcli, name)) for part in _method(name, *member)]
    parts.append("## `__version__`\n\nThe version of the package, a string, as `patchcli --version` tells it.\n")
    return "\n".join(parts)


def _contents(names: list[str]) -> str:
    first = {name: _docstring(name, getattr(patchcli, name)).splitlines()[0] for name in names}
    return "".join(_item(f"[`{name}`](#{name.lower()})", line) for name, line in first.items())


def _item(name: str, words: str) -> str:
    return textwrap.fill(f"- {name}: {_inline(words)}", PROSE, subsequent_indent="  ", **WRAP) + "\n"


def _docstring(name: str, of: object) -> str:
    found = inspect.getdoc(of)
    if not found:
        raise ValueError(f"{name} is public and has no docstring")
    return found


def _described(name: str, of: Callable[..., object]) -> Iterator[str]:
    """A function or a class: heading, signature, docstring."""
    yield f"### `{name}`\n"
    docstring = _docstring(name, of)
    if not inspect.isclass(of) or "Args:" in docstring or hasattr(of, "_fields"):
        yield f"```py\n{_signature(f'patchcli.{name}', of)}\n```\n"
    yield from _rendered(docstring)


def _members(of: type) -> Iterator[tuple[str, object]]:
    """The public methods and properties of a class, as they stand in it."""
    for name, member in vars(of).items():
        if not name.startswith("_") and isinstance(member, (property, cached_property, classmethod)) | inspect.isfunction(member):
            yield name, member


def _method(of: str, name: str, member: object) -> Iterator[str]:
    """A method with its signature, or a property."""
    call = "" if isinstance(member, (property, cached_property)) else "()"
    yield f"#### `{of}.{name}{call}`\n"
    if call:
        bound = getattr(getattr(patchcli, of), name)
        yield f"```py\n{_signature(f'{of}.{name}', bound)}\n```\n"
    yield from _rendered(_docstring(f"{of}.{name}", member))


def _signature(name: str, of: Callable[..., object]) -> str:
    """A call with every parameter, its type and its default; one a line where all of them are too long for one."""
    signature = inspect.signature(of)
    parts: list[str] = []
    for one in signature.parameters.values():
        if one.name == "self":
            continue
        if one.kind is one.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        parts.append(f"{one.name}: {_type(one.annotation)}" + ("" if one.default is one.empty else f" = {_default(one.default)}"))
    back = "" if inspect.isclass(of) else f" -> {_type(signature.return_annotation)}"
    line = f"{name}({', '.join(parts)}){back}"
    return line if len(line) <= WIDEST else "\n".join([f"{name}(", *(f"    {part}," for part in parts), f"){back}"])


def _type(annotation: object) -> str:
    return annotation.__forward_arg__ if isinstance(annotation, ForwardRef) else str(annotation)


def _default(value: object) -> str:
    return f"{type(value).__name__}()" if hasattr(value, "_fields") else repr(value).replace("'", '"')


def _rendered(docstring: str) -> Iterator[str]:
    """A docstring of sections as Markdown."""
    for block in re.split(r"\n\n(?=\S)", docstring):
        head, _, rest = block.partition("\n")
        if block.startswith(">>>"):
            yield f"```pycon\n{block}\n```\n"
        elif head.endswith(":") and head[:-1] in SECTIONS and rest.startswith("    "):
            body = textwrap.dedent(rest)
            items = re.findall(r"^(\w+): (.*(?:\n    .*)*)", body, re.MULTILINE)
            yield f"**{SECTIONS[head[:-1]]}**\n"
            yield _inline(body) + "\n" if head == "Returns:" else "".join(_item(f"`{name}`", words) for name, words in items)
        else:
            yield _inline(block) + "\n"


def _inline(words: str) -> str:
    """Prose of a docstring: code as Markdown has it, public names linked, tables with their words; in lines of their own."""
    marked = re.sub(r"``(.+?)``|`([\w.]+)`", lambda found: f"`{found[1]}`" if found[1] else _named(found[2]), words)
    return "\n\n".join(textwrap.fill(" ".join(part.split()), PROSE, **WRAP) for part in re.split(r"\n\s*\n", marked))


def _named(name: str) -> str:
    if name in WORDS:
        words = WORDS[name]
        return str(words) if isinstance(words, int | float) else ", ".join(f"`{word}`" for word in words)
    own = name.removeprefix("patchcli.")
    return f"[`{own}`](#{own.lower()})" if own in patchcli.__all__ else f"`{name}`"


if __name__ == "__main__":
    REFERENCE.write_text(text())
