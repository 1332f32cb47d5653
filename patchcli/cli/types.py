"""What the values of options look like: names of files, sizes, points, amounts, parts of a whole."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from patchcli.arrays import parse_number
from patchcli.jobs.pages import PageRange

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from click.shell_completion import CompletionItem

# compiled when an option has such a value
PART = r"(?P<over>\d{1,9}(\.\d{1,9})?)((?P<percent>%)|/(?P<under>\d{1,9}))?"
GEOMETRY = r"(?P<width>{0})x(?P<height>{0})(?P<x>[+-]{0})(?P<y>[+-]{0})".format(r"\d{1,10}(?:\.\d{1,10})?")
PAGES = r"(\d{1,9})(?:-(\d{1,9}))?"
MAX_SIDE = 1 << 20  # pixels of one side of anything that an option names


class File(click.ParamType[str]):
    """The name of a file, kept as it was given, ``-`` too; a shell completes it. Several in a variable stand one a line."""

    name = "FILE"
    kind = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401, ARG002
        """Keep the name: what is wrong with it is said where it is used."""
        return str(value)

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """Names may hold spaces and colons."""
        return [line for line in rv.split("\n") if line]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:  # noqa: ARG002
        """Leave it to the shell, which knows how to quote."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type=self.kind)]


class Folder(File):
    """The name of a folder, likewise."""

    name = "DIR"
    kind = "dir"


class WordOrFile(File):
    """One of a few words, or the name of a file."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        """Words first: Bash offers files where no word fits."""
        from click.shell_completion import CompletionItem

        words = [CompletionItem(word) for word in self._words if word.startswith(incomplete)]
        return [*super().shell_complete(ctx, param, incomplete), *words]


class Size(click.ParamType[tuple[int, int]]):
    """``W`` or ``WxH`` in whole pixels from 1; (rows, columns) in Python."""

    name = "W[xH]"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        """As it is typed, with a small x."""
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:  # noqa: ANN401
        """Parse a size."""
        if isinstance(value, tuple):
            return value
        size = parse_size(str(value))
        if size is None:
            self.fail(f"{value!r} is not a size; write W or WxH in whole pixels from 1 to {MAX_SIDE}, as in 64x48", param, ctx)
        return size


def parse_size(text: str) -> tuple[int, int] | None:
    """``W`` or ``WxH`` as (rows, columns); None if it is no size."""
    width, cross, height = text.strip().lower().partition("x")
    sides = (height if cross else width, width)
    if not all(side.isascii() and side.isdecimal() and 0 < int(side[:20]) <= MAX_SIDE for side in sides):
        return None
    return int(sides[0]), int(sides[1])


class BoxNumber(click.types.FloatParamType):
    """A number of a box, of which an option takes several words, whatever they are."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Parse a number."""
        try:
            return float(value)
        except ValueError:
            count = param.nargs if param is not None else 1
            self.fail(f"{value!r} is not a number; give {count} of them: {param.metavar if param else self.name}", param, ctx)


class PixelNumber(BoxNumber):
    """A number of a box in pixels; in a variable a box may be written as a geometry too."""

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """The four numbers."""
        return parse_geometry(rv.strip()) or rv.split()


def parse_geometry(text: str) -> tuple[str, str, str, str] | None:
    """ImageMagick's ``WxH+X+Y`` as the numbers X, Y, W, H; None if it is none."""
    matched = re.fullmatch(GEOMETRY, text, re.ASCII | re.IGNORECASE)
    return None if matched is None else (matched["x"], matched["y"], matched["width"], matched["height"])


class Pages(click.ParamType[PageRange]):
    """``N``, ``A-B`` or ``all``: pages of a file, from 0."""

    name = "N|A-B|all"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        """As it is typed, in small letters."""
        return self.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> PageRange:  # noqa: ANN401
        """Parse one page or several."""
        if isinstance(value, PageRange):
            return value
        text = str(value)
        if text == "all":
            return PageRange(0, None)
        matched = re.fullmatch(PAGES, text, re.ASCII)
        first, last = map(int, (matched[1], matched[2] or matched[1])) if matched else (1, 0)
        if first > last:
            self.fail(f"{text!r} is not a page or several; write N, A-B or all, counted from 0, as in 0-4", param, ctx)
        return PageRange(first, last, ranged="-" in text)


class KeyValue(click.ParamType[tuple[str, str]]):
    """``KEY=VALUE``, a key in small letters."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:  # noqa: ANN401
        """Take a key and its value apart; which there are is said where the format is known."""
        if isinstance(value, tuple):
            return value
        key, equals, said = str(value).partition("=")
        if not (key and equals and said):
            self.fail(f"{value!r} is not a key and its value; write KEY=VALUE, as in quality=90", param, ctx)
        return key.lower(), said.lower()


class Keyword(KeyValue):
    """``NAME=VALUE``, both as they were typed; the value may be empty."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:  # noqa: ANN401
        """Take a name and its value apart; which there are the function says."""
        if isinstance(value, tuple):
            return value
        name, equals, said = str(value).partition("=")
        if not (equals and name.isidentifier()):
            self.fail(f"{value!r} is not a name and its value; write NAME=VALUE, as in sigma=25", param, ctx)
        return name, said


class Point(click.ParamType[tuple[int, int]]):
    """``X,Y`` in whole pixels from 0; (row, column) in Python."""

    name = "X,Y"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:  # noqa: ANN401
        """Parse a point."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if len(parts) != 2 or not all(p.isascii() and p.isdecimal() and int(p[:20]) <= MAX_SIDE for p in parts):  # noqa: PLR2004
            self.fail(f"{value!r} is not a point; write X,Y in whole pixels from 0 to {MAX_SIDE}, as in 3,5", param, ctx)
        return int(parts[1]), int(parts[0])


class NumberList(click.ParamType[tuple[int, ...]]):
    """``N,N,...``: whole numbers from 0."""

    name = "N,N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:  # noqa: ANN401
        """Parse numbers."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(part.isascii() and part.isdecimal() and int(part[:20]) < 2**63 for part in parts):
            self.fail(f"{value!r} is not a list of numbers; write whole ones from 0, as in 3,17", param, ctx)
        return tuple(map(int, parts))


class Amount(click.ParamType["int | Fraction"]):
    """``N`` from 1, or ``N%`` above 0 and up to 100%, which is exact."""

    name = "N|N%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | Fraction:  # noqa: ANN401
        """Parse a number of things or a part of them."""
        text = str(value)
        if text.isascii() and text.isdecimal() and 0 < int(text[:20]) < 2**63:
            return int(text)
        part = parse_part(text) if text.endswith("%") else None
        if not part:
            self.fail(
                f"{value!r} is not a number of patches; write a whole number from 1 to 2**63 - 1, or a percentage up to 100% "
                "such as 12.5%",
                param,
                ctx,
            )
        return part


class Share(click.ParamType["Fraction"]):
    """A part from 0 to 1: ``0.25``, ``25%`` or ``1/4``, which is exact."""

    name = "F"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:  # noqa: ANN401
        """Parse a part of a whole."""
        part = parse_part(str(value))
        if part is None:
            self.fail(f"{value!r} is not a part of a whole; write 0 to 1, as in 0.25, 25% or 1/4", param, ctx)
        return part


class Number(click.ParamType[float]):
    """A number, whole ones of any size exact, ``nan`` and ``inf`` too."""

    name = "VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Parse a number."""
        number = parse_number(str(value))
        if number is None:
            self.fail(f"{value!r} is not a number; write one, as in -9999, 0.5 or nan", param, ctx)
        return number


def parse_part(text: str) -> Fraction | None:
    """``0.25``, ``25%`` or ``1/4`` as an exact number from 0 to 1; None if it is none."""
    from fractions import Fraction

    matched = re.fullmatch(PART, text, re.ASCII)
    if not matched or (matched["under"] and not int(matched["under"])):
        return None
    part = Fraction(matched["over"]) / int(matched["under"] or (100 if matched["percent"] else 1))
    return part if part <= 1 else None
