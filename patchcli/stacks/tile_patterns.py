"""Names that other programs give to tiles, read by a pattern such as ``{stem}-{x}-{y}.png``: whose tile it is, and where it lies.

Numbers are matched from the right, each as long as it can be; ``{stem}`` takes what is left. No name is looked at twice, so
that matching takes as long as the name is.

>>> NamePattern("{stem}-{row+1}-{col}.png").match("poster-2-01.png")
TileName(stem='poster', numbers=(1, 1))
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from patchcli.errors import PatchcliError
from patchcli.images.formats import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME_PIECE = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]|[^{}]+")
STEM_FIELD, NUMBER_FIELD = "{stem}", "{patch}"
# what a field counts, and from which number on
TILE_NUMBERS = {"{x}": ("x", 0), "{y}": ("y", 0), NUMBER_FIELD: ("patch", 0)} | {
    f"{{{name}{'+1' * first}}}": (name, first) for name in ("row", "col") for first in (0, 1)
}
TILE_PLACES = (("y", "x"), ("row", "col"), ("patch",))  # what says where a tile lies, as a pattern has it, in any order
DIGITS = "0123456789"
MAX_DIGITS = 12  # of a number, so that it is that of a pixel of an image
TOO_LONG = 10**MAX_DIGITS  # stands for any longer number


class TileName(NamedTuple):
    """What the name of a tile says: whose it is, and its numbers, from 0, as `NamePattern.place` names them."""

    stem: str
    numbers: tuple[int, ...]


class NamePattern:
    """How tiles are named.

    Args:
        text: a name with ``{x}`` and ``{y}`` (pixels), ``{row}`` and ``{col}`` (from 0; ``{row+1}`` and ``{col+1}``: from 1), or
            ``{patch}`` (from 0, row after row) in it, and ``{stem}`` or not; ``{{`` and ``}}`` stand for braces. Without the
            suffix of an image names may have any. It may have folders in it.

    Attributes:
        text: the same.
        place: what the numbers are: ``("y", "x")``, ``("row", "col")`` or ``("patch",)``.
        has_stem: whether tiles of several images can be told apart.
        folders: how many of the folders above a tile are part of its name.

    Raises:
        PatchcliError: a field that there is not, one too many or too few, numbers of which nobody can tell where they end.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._pieces = [piece[0] if piece in ("{{", "}}") else piece for piece in NAME_PIECE.findall(text)]
        fields = [piece for piece in NAME_PIECE.findall(text) if piece[0] + piece[-1] == "{}"]
        counted = sorted(TILE_NUMBERS[field][0] for field in fields if field in TILE_NUMBERS)
        known = all(field in TILE_NUMBERS or field == STEM_FIELD for field in fields) and fields.count(STEM_FIELD) <= 1
        known = known and not {"{", "}"} & {*NAME_PIECE.findall(text)}
        place = next((place for place in TILE_PLACES if sorted(place) == counted), None)
        if not known or place is None:
            raise PatchcliError(
                f"{text!r:.80} is no pattern of names; write {{x}} and {{y}}, {{row}} and {{col}} (or {{row+1}} and {{col+1}}) "
                "or {patch} into it, each once, and {stem} for the rest, as in '{stem}-{x}-{y}.png'"
            )
        self.place, self.has_stem, self._first = (
            place,
            STEM_FIELD in fields,
            dict(TILE_NUMBERS[field] for field in fields if field != STEM_FIELD),
        )
        self.folders = text.count("/")
        self._any_suffix = os.path.splitext(text)[1].lower() not in SUFFIXES
        self._check_ends()

    def _check_ends(self) -> None:
        """Refuse digits or another number beside a number: where it begins or ends is not to be told."""
        for before, piece in zip(self._pieces, self._pieces[1:], strict=False):
            if (piece in TILE_NUMBERS and (before in TILE_NUMBERS or before[-1] in DIGITS)) or (
                before in TILE_NUMBERS and piece[0] in DIGITS
            ):
                raise PatchcliError(f"{self.text!r:.80} has a number right beside {piece}; names like these cannot be told apart")

    def split(self, path: str) -> tuple[str, str]:
        """The folder of a tile's image, and the name that the pattern is about.

        >>> NamePattern("{row}/{col}.png").split("a/12/3/4.png")
        ('a/12', '3/4.png')
        """
        parts = path.split("/")
        at = max(0, len(parts) - 1 - self.folders)
        return "/".join(parts[:at]) or "/" * (at > 0), "/".join(parts[at:])

    def match(self, name: str) -> TileName | None:
        """What a name, as `split` gives it, says; None where it does not match.

        Raises:
            PatchcliError: it matches, but for a number that is none of a tile: one too long, or 0 where they count from 1.
        """
        if self._any_suffix:
            name, suffix = os.path.splitext(name)
            if suffix.lower() not in SUFFIXES:
                return None
        split = self._pieces.index(STEM_FIELD) if self.has_stem else 0
        found: dict[str, int] = {}
        rest: str | None = name
        for piece in reversed(self._pieces[split + self.has_stem :]):
            rest = self._without(rest, piece, found, at_end=True)
        for piece in self._pieces[:split]:
            rest = self._without(rest, piece, found, at_end=False)
        if rest is None or bool(rest) != self.has_stem:
            return None
        for what, number in found.items():
            if number < 0:
                raise PatchcliError(f"has {what}=0, and {{{what}+1}} counts from 1; write {{{what}}}, which counts from 0")
            if number == TOO_LONG:
                raise PatchcliError(f"has {what} of more than {MAX_DIGITS} digits; no number of a tile is that large")
        return TileName(rest, tuple(found[name] for name in self.place))

    @staticmethod
    def _without(rest: str | None, piece: str, found: dict[str, int], *, at_end: bool) -> str | None:
        """What is left of a name without a piece at one of its ends, a number put into ``found``; None where it is not there."""
        if rest is None:
            return None
        if piece in TILE_NUMBERS:
            left = rest.rstrip(DIGITS) if at_end else rest.lstrip(DIGITS)
            digits = rest[len(left) :] if at_end else rest[: len(rest) - len(left)]
            if not digits:
                return None
            what, first = TILE_NUMBERS[piece]
            digits = digits.lstrip("0") or "0"
            found[what] = int(digits) - first if len(digits) <= MAX_DIGITS else TOO_LONG
            return left
        if at_end:
            return rest[: len(rest) - len(piece)] if rest.endswith(piece) else None
        return rest[len(piece) :] if rest.startswith(piece) else None

    def in_words(self, numbers: Sequence[int]) -> str:
        """Where a tile lies, as its name would say it.

        >>> NamePattern("{row+1}_{col+1}.png").in_words((0, 4))
        'row=1 col=5'
        """
        said = [f"{name}={number + self._first[name]}" for name, number in zip(self.place, numbers, strict=True)]
        return " ".join(said[::-1] if self.place == ("y", "x") else said)

    def of_image(self, stem: str) -> str:
        """The pattern of the tiles of one image, by which it is called in messages."""
        return self.text.replace(STEM_FIELD, stem, 1) if self.has_stem else self.text
