"""What the samples of an image mean, beside their values: kept from the source to whatever is made of it."""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

METADATA = KEEP, DROP = "keep", "none"  # what becomes of it: it is kept, or only what samples are
COLOURS = {"minisblack": 1, "miniswhite": 1, "rgb": 3}  # photometric kinds, and how many samples of a pixel are its colour
ALPHA = "unassalpha"  # as most formats have it; "assocalpha" has colours that were multiplied by it already
MAX_SAMPLES = (1 << 16) - 1  # samples of a pixel, as TIFF counts them
EXTRA = ("unspecified", "assocalpha", ALPHA)  # by the numbers that TIFF has for them
OWN_PAGES = "YXC"  # axes of an image whose channels are the pages of a file, and not samples that lie beside each other
# GeoTIFF tags, and how many values each may hold: https://docs.ogc.org/is/19-008r4/19-008r4.html, 7.1
PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, GEO_KEYS, GEO_DOUBLES, GEO_TEXT = 33550, 33922, 34264, 34735, 34736, 34737
MAX_GEO = 1 << 16
RASTER_TYPE, IS_POINT = 1025, 2  # a key of 34735, and its value for coordinates that are those of the centre of a pixel
MOST_DENOMINATOR = 1 << 24
MOST_NUMBER = 1e100  # of what a file says; nothing that is computed from it overflows
MAX_ICC = 16_000_000  # bytes; JPEG can hold 255 parts of 65519
MAX_WORDS = 1 << 10  # characters of nodata, a unit, axes
MAX_FIELDS = 4 << 20  # characters of the metadata in a stack
LONGEST_NUMBER = 32  # characters of a number, a colour or the name of a sample in it, at most
PROFILE_HEAD = 128  # bytes of the header of an ICC profile (ICC.1:2022, 7.2)
METERS = {  # of units of length
    **dict.fromkeys(("inch", "in"), Fraction(254, 10_000)),
    **dict.fromkeys(("centimeter", "cm"), Fraction(1, 100)),
    **{unit: Fraction(1, 10**power) for unit, power in {"m": 0, "mm": 3, "µm": 6, "nm": 9, "pm": 12}.items()},
}
SPACES = {1: b"GRAY", 3: b"RGB "}  # of an ICC profile, by the number of colours
UNITS = ("inch", "centimeter", "none")  # of a resolution; none: only the ratio of its two numbers says something


class Metadata(NamedTuple):
    """What the samples of a pixel are: first its colour, then extra ones.

    Attributes:
        photometric: one of `COLOURS`.
        extrasamples: of `EXTRA`, one for each sample behind the colour.
        icc: the ICC profile; empty where there is none.
        resolution: pixels along width and height, and in what: one of `UNITS`.
        colormap: red, green and blue, 16 bits each, of the values of an image of indices.
        geotiff: the GeoTIFF tags by number, with their values: where on earth the image lies.
        nodata: the value that stands for no data, as GDAL writes it.
        pixel_size: width and height of a pixel, and the unit.
        orientation: as EXIF has it, of an image that was not turned; None for upright.
        axes: of the file that the image is a plane of, as tifffile names them; `OWN_PAGES` of one that was joined from planes.
    """

    photometric: str = "minisblack"
    extrasamples: tuple[str, ...] = ()
    icc: bytes = b""
    resolution: tuple[float, float, str] | None = None
    colormap: tuple[tuple[int, int, int], ...] | None = None
    geotiff: tuple[tuple[int, tuple[float, ...] | str], ...] = ()
    nodata: str | None = None
    pixel_size: tuple[float, float, str] | None = None
    orientation: int | None = None
    axes: str | None = None

    @classmethod
    def usual(cls, channels: int) -> Metadata:
        """What so many channels are taken for where nothing else is known, and in formats that know nothing else.

        >>> Metadata.usual(4).extrasamples
        ('unassalpha',)
        """
        if channels > 4:  # noqa: PLR2004
            return cls(extrasamples=EXTRA[:1] * (min(channels, MAX_SAMPLES) - 1))
        return cls("minisblack" if channels < 3 else "rgb", (ALPHA,) * (channels % 2 == 0))  # noqa: PLR2004

    @classmethod
    def of(cls, channels: int, photometric: str, extrasamples: tuple[str, ...]) -> Metadata:
        """What a file says of so many channels, made to fit their number; a sample of which it says nothing is unspecified."""
        colours = COLOURS[photometric]
        if channels < colours or channels > MAX_SAMPLES:
            return cls.usual(channels)
        known = [extra if extra in EXTRA else EXTRA[0] for extra in extrasamples[: channels - colours]]
        return cls(photometric, (*known, *[EXTRA[0]] * (channels - colours - len(known))))

    @property
    def channels(self) -> int:
        """How many samples a pixel has."""
        return COLOURS[self.photometric] + len(self.extrasamples)

    @property
    def alpha(self) -> int | None:
        """The channel that is alpha by which colours were not yet multiplied; None where there is none."""
        return COLOURS[self.photometric] + self.extrasamples.index(ALPHA) if ALPHA in self.extrasamples else None

    @property
    def profiled(self) -> int:
        """How many numbers a colour has, to which a profile gives a meaning: three in a colour table."""
        return 3 if self.colormap else COLOURS[self.photometric]

    @classmethod
    def unexplained(cls, channels: int) -> Metadata:
        """What so many channels are taken for that may be anything: RGB where there are enough for it, and nothing is alpha.

        >>> Metadata.unexplained(2).in_words(), Metadata.unexplained(4).in_words(), Metadata.unexplained(5).in_words()
        ('minisblack + unspecified', 'rgb + unspecified', 'minisblack + 4 unspecified')
        """
        return cls.of(channels, cls.usual(channels).photometric, ())

    def matching(self, channels: int) -> Metadata:
        """The same, for an image that was made of this one and has so many channels, which may be anything."""
        if self.channels == channels:
            return self
        usual = Metadata.unexplained(channels)
        icc = self.icc if usual.profiled == self.profiled else b""
        return self._replace(photometric=usual.photometric, extrasamples=usual.extrasamples, icc=icc, colormap=None)

    def only_samples(self) -> Metadata:
        """What samples are, and nothing else."""
        return Metadata(self.photometric, self.extrasamples)

    def only_place(self) -> Metadata:
        """Where its pixels lie and how large they are, and nothing else: for a gray image that lies over this one."""
        return Metadata(
            geotiff=self.geotiff, resolution=self.resolution, pixel_size=self.pixel_size, orientation=self.orientation
        )

    def anywhere(self) -> Metadata:
        """The same of an image of which neither place nor size is known."""
        return self._replace(geotiff=(), resolution=None, pixel_size=None)

    def moved(self, x: float, y: float) -> Metadata:
        """That of an image whose top left corner lies at column ``x`` and row ``y`` of this one, in pixels.

        Where one tie point and a scale give the place on earth, the tie point gets other coordinates there; several tie points
        keep theirs, and get other pixels.
        """
        if not self.geotiff or not (x or y):
            return self
        return self._replace(geotiff=_placed(dict(self.geotiff), (Fraction(x), Fraction(y)), (Fraction(1), Fraction(1))))

    def scaled(self, x: float, y: float) -> Metadata:
        """That of an image of the same content, in ``x`` times as many columns and ``y`` times as many rows.

        A factor below 0 mirrors. The resolution has more pixels in a unit, and a pixel is smaller. Nothing is known of an image
        that is larger or smaller by more than `MOST_NUMBER`.
        """
        if x == y == 1 or self == (known := self.anywhere()):
            return self
        if not all(1 / MOST_NUMBER <= abs(factor) <= MOST_NUMBER for factor in (x, y)):
            return known
        by = _ratio(x), _ratio(y)
        return self._replace(
            geotiff=_placed(dict(self.geotiff), (Fraction(0), Fraction(0)), by),
            resolution=self.resolution and _sized(self.resolution, (abs(by[0]), abs(by[1]))),
            pixel_size=self.pixel_size and _sized(self.pixel_size, (1 / abs(by[0]), 1 / abs(by[1]))),
        )

    @property
    def of_pages(self) -> bool:
        """Whether the channels are pages of a file, to be written as such where a format can hold several."""
        return self.axes == OWN_PAGES and self.channels > 1 and self[:2] == ("minisblack", EXTRA[:1] * (self.channels - 1))

    def density(self, unit: str) -> tuple[float, float] | None:
        """Pixels along width and height in a unit of `METERS`: by the resolution, or the size of a pixel; None if unknown."""
        of = METERS[unit]
        if self.resolution is not None:
            x, y, name = self.resolution
            return _per(_decimal(x), _decimal(y), of / METERS[name]) if name in METERS else None
        if self.pixel_size is None or self.pixel_size[2] not in METERS:
            return None
        x, y, name = self.pixel_size
        return _per(1 / _decimal(x), 1 / _decimal(y), of / METERS[name])

    def turned(self, *, sideways: bool) -> Metadata:
        """That of the image turned upright, whose rows became columns or not; its place on earth is lost, for axes are others."""
        swapped = self if not sideways else self._replace(resolution=_swap(self.resolution), pixel_size=_swap(self.pixel_size))
        return swapped._replace(geotiff=(), orientation=None)

    def in_words(self) -> str:
        """As TIFF calls it.

        >>> Metadata.usual(300).in_words(), Metadata("rgb", ("unspecified", "unassalpha")).in_words()
        ('minisblack + 299 unspecified', 'rgb + unspecified + unassalpha')
        """
        alike = [(kind, len(list(group))) for kind, group in itertools.groupby(self.extrasamples)]
        return " + ".join([self.photometric, *(kind if count == 1 else f"{count} {kind}" for kind, count in alike)])

    def fields(self) -> dict[str, Any]:
        """The metadata as a JSON object of those fields that say something; unspecified samples at the end are left out.

        So are the largest, where all of them would be longer than `MAX_FIELDS`.
        """
        gone = self.too_large()
        return {name: value for name, value in self._all_fields().items() if name not in gone}

    def _all_fields(self) -> dict[str, Any]:
        import base64  # loaded for stacks alone

        extra = list(self.extrasamples)
        while extra and extra[-1] == EXTRA[0]:
            extra.pop()
        fields = {
            "icc": base64.b64encode(self.icc).decode("ascii") or None,
            "resolution": self.resolution and list(self.resolution),
            "colormap": self.colormap and [list(colour) for colour in self.colormap],
            "geotiff": {str(tag): value if isinstance(value, str) else list(value) for tag, value in self.geotiff} or None,
            "nodata": self.nodata,
            "pixel_size": self.pixel_size and list(self.pixel_size),
            "orientation": self.orientation,
            "axes": self.axes,
        }
        said = {name: value for name, value in fields.items() if value is not None}
        return {"photometric": self.photometric, "extrasamples": extra, **said}

    def too_large(self) -> tuple[str, ...]:
        """The fields that are left out of a stack, where all are too long for it."""
        numbers = len(self.extrasamples) + len(self.colormap or ()) + sum(len(value) for _, value in self.geotiff)
        if 2 * len(self.icc) + LONGEST_NUMBER * numbers < MAX_FIELDS - 32 * MAX_WORDS:  # beside which all else is short
            return ()
        sizes = {name: len(json.dumps(value)) for name, value in self._all_fields().items()}
        gone = []
        while sum(sizes.values()) > MAX_FIELDS:
            gone.append(max(sizes, key=sizes.__getitem__))
            del sizes[gone[-1]]
        return tuple(gone)

    @classmethod
    def from_fields(cls, fields: dict[str, Any], channels: int) -> Metadata:
        """Read it for an image of so many channels; what is missing or not understood is as usual."""
        photometric, extra = fields.get("photometric"), fields.get("extrasamples")
        if not isinstance(photometric, str) or photometric not in COLOURS or not isinstance(extra, list):
            samples = cls.usual(channels)
        else:
            named = tuple(one if isinstance(one, str) else EXTRA[0] for one in extra[:MAX_SAMPLES])
            samples = cls.of(channels, photometric, named).matching(channels)
        known = {name: CHECKS[name](fields[name]) for name in CHECKS if fields.get(name) is not None}
        return samples._replace(**{name: value for name, value in known.items() if value is not None}).sensible()

    def sensible(self) -> Metadata:
        """The same without a profile of other colours, and without a colour table of more than one channel."""
        return self._replace(
            icc=self.icc if self.icc[16:20] == SPACES[self.profiled] else b"",
            colormap=self.colormap if self.channels == 1 else None,
        )


def _ratio(factor: float) -> Fraction:
    """The fraction that a factor was before it became a float: 1/3 has none."""
    near = Fraction(factor).limit_denominator(MOST_DENOMINATOR)
    return near if float(near) == factor else Fraction(factor)


def _sized(pair: tuple[float, float, str], by: tuple[Fraction, Fraction]) -> tuple[float, float, str]:
    return float(Fraction(pair[0]) * by[0]), float(Fraction(pair[1]) * by[1]), pair[2]


def _decimal(number: float) -> Fraction:
    """The number that a float was read from, which has few digits."""
    return Fraction(repr(float(number)))


def _per(x: Fraction, y: Fraction, factor: Fraction) -> tuple[float, float]:
    return float(x * factor), float(y * factor)


def _swap(pair: tuple[float, float, str] | None) -> tuple[float, float, str] | None:
    return pair and (pair[1], pair[0], pair[2])


def _placed(
    tags: dict[int, tuple[float, ...] | str], corner: tuple[Fraction, Fraction], by: tuple[Fraction, Fraction]
) -> tuple[tuple[int, tuple[float, ...] | str], ...]:
    """GeoTIFF tags of an image that begins at ``corner`` of another, in pixels, and has ``by`` times as many of them.

    Pixel p of it lies at (p + h) / by + corner - h of the other, with h = 1/2 where a coordinate is that of the centre of a
    pixel: https://docs.ogc.org/is/19-008r4/19-008r4.html, 7.4 and B.6.
    """
    half = Fraction(_is_point(tags), 2)

    def before(pixel: Fraction, axis: int) -> Fraction:
        return (pixel + half) / by[axis] + corner[axis] - half

    scale, points, matrix = (tuple(map(Fraction, tags.get(tag, ()))) for tag in (PIXEL_SCALE, TIE_POINTS, TRANSFORMATION))
    if scale and len(points) == 6:  # noqa: PLR2004  one: i, j, k, x, y, z
        if min(by) < 0:  # a scale is never below 0
            matrix, scale = _matrix(scale, points), ()
            points = ()
        else:
            i, j, k, x, y, z = points
            points = i, j, k, x + (before(i, 0) - i) * scale[0], y - (before(j, 1) - j) * scale[1], z
            scale = scale[0] / by[0], scale[1] / by[1], *scale[2:]
    elif points:
        moved = [
            ((p[0] - corner[0] + half) * by[0] - half, (p[1] - corner[1] + half) * by[1] - half, *p[2:]) for p in _by(6, points)
        ]
        points = tuple(value for point in moved for value in point)
        scale = (scale[0] / abs(by[0]), scale[1] / abs(by[1]), *scale[2:]) if scale else ()
    if matrix:
        rows = [
            (a / by[0], b / by[1], c, a * before(Fraction(0), 0) + b * before(Fraction(0), 1) + d)
            for a, b, c, d in _by(4, matrix)
        ]
        matrix = tuple(value for row in rows[:3] for value in row) + matrix[12:]
    made = {PIXEL_SCALE: scale, TIE_POINTS: points, TRANSFORMATION: matrix}
    kept = {tag: value for tag, value in tags.items() if tag not in made}
    return tuple(sorted({**kept, **{tag: tuple(map(float, values)) for tag, values in made.items() if values}}.items()))


def _by(count: int, values: Sequence[Fraction]) -> list[tuple[Fraction, ...]]:
    return [tuple(values[at : at + count]) for at in range(0, len(values), count)]


def _matrix(scale: Sequence[Fraction], point: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """What a scale and a tie point say, as a transformation of pixels (B.6 of the same)."""
    i, j, k, x, y, z = point
    across, down, deep = (*scale, Fraction(0))[:3]
    zero, one = Fraction(0), Fraction(1)
    return (across, zero, zero, x - i * across, zero, -down, zero, y + j * down, zero, zero, deep, z - k * deep, *[zero] * 3, one)


def _is_point(tags: dict[int, tuple[float, ...] | str]) -> bool:
    """Whether pixel coordinates are those of centres: the key stands in an entry of four numbers (7.1.2 of the same)."""
    keys = tags.get(GEO_KEYS, ())
    return any(tuple(keys[at : at + 4]) == (RASTER_TYPE, 0, 1, IS_POINT) for at in range(4, len(keys), 4))


def as_number(said: object) -> float | None:
    """A finite number of a size that can be computed with; None for anything else."""
    if isinstance(said, bool) or not isinstance(said, (int, float)):
        return None
    return said if abs(said) <= MOST_NUMBER and math.isfinite(said) else None


def as_numbers(said: object, most: int) -> tuple[float, ...] | None:
    """Some numbers, at most so many."""
    if not isinstance(said, (list, tuple)) or not 0 < len(said) <= most:
        return None
    numbers = tuple(number for number in map(as_number, said) if number is not None)
    return numbers if len(numbers) == len(said) else None


def as_text(said: object) -> str | None:
    """Short text of printable characters."""
    fine = isinstance(said, str) and 0 < len(said) <= MAX_WORDS and said.isprintable()
    return said if fine and isinstance(said, str) else None


def as_icc(said: object) -> bytes | None:
    """An ICC profile whose header makes sense; of others, libraries print words of their own."""
    fine = isinstance(said, bytes) and PROFILE_HEAD <= len(said) <= MAX_ICC and said[36:40] == b"acsp"
    return said if fine and isinstance(said, bytes) and int.from_bytes(said[:4]) == len(said) else None


def as_geotiff(said: object) -> tuple[tuple[int, tuple[float, ...] | str], ...] | None:
    """GeoTIFF tags by number, of which each makes sense; where one does not, the whole place on earth is unknown."""
    if not isinstance(said, dict):
        return None
    checked: dict[int, tuple[float, ...] | str | None] = {tag: check(said[tag]) for tag, check in GEO_TAGS.items() if tag in said}
    known = {tag: value for tag, value in checked.items() if value is not None}
    return tuple(sorted(known.items())) if known and len(known) == len(checked) else None


def _geo_text(said: object) -> str | None:
    return said if isinstance(said, str) and 0 < len(said) <= MAX_GEO and said.isascii() and "\0" not in said else None


def _geo_keys(said: object) -> tuple[float, ...] | None:
    numbers = as_numbers(said, MAX_GEO)
    fine = numbers and len(numbers) % 4 == 0 and all(isinstance(one, int) and 0 <= one < 1 << 16 for one in numbers)
    return numbers if fine else None


def _geo_scale(said: object) -> tuple[float, ...] | None:
    """The size of a pixel; the sign of its height counts for nothing, as in GDAL without GTIFF_HONOUR_NEGATIVE_SCALEY."""
    numbers = as_numbers(said, 3)
    return (numbers[0], abs(numbers[1]), *numbers[2:]) if numbers and len(numbers) in (2, 3) else None


def _in_groups(count: int, most: int) -> Callable[[object], tuple[float, ...] | None]:
    def check(said: object) -> tuple[float, ...] | None:
        numbers = as_numbers(said, most)
        return numbers if numbers and len(numbers) % count == 0 else None

    return check


GEO_TAGS: dict[int, Callable[[object], tuple[float, ...] | str | None]] = {
    PIXEL_SCALE: _geo_scale,
    TIE_POINTS: _in_groups(6, MAX_GEO // 6 * 6),
    TRANSFORMATION: _in_groups(16, 16),
    GEO_KEYS: _geo_keys,
    GEO_DOUBLES: lambda said: as_numbers(said, MAX_GEO),
    GEO_TEXT: _geo_text,
}


def _icc(said: object) -> bytes | None:
    import base64

    if not isinstance(said, str) or len(said) > 2 * MAX_ICC:
        return None
    try:
        return as_icc(base64.b64decode(said, validate=True))
    except ValueError:
        return None


def as_pair(said: object, units: Sequence[str] | None = None) -> tuple[float, float, str] | None:
    """Two numbers above 0 and a unit, one of ``units`` if given."""
    if not isinstance(said, (list, tuple)) or len(said) != 3:  # noqa: PLR2004
        return None
    numbers, unit = as_numbers(said[:2], 2), as_text(said[2])
    if numbers is None or min(numbers) <= 0 or unit is None or (units is not None and unit not in units):
        return None
    return float(numbers[0]), float(numbers[1]), unit


def as_colormap(said: object) -> tuple[tuple[int, int, int], ...] | None:
    """Colours of three whole numbers of 16 bits each, at most as many as 16 bits count."""
    if not isinstance(said, (list, tuple)) or not 0 < len(said) <= 1 << 16:
        return None
    colours = []
    for colour in said:
        if not isinstance(colour, (list, tuple)) or len(colour) != 3:  # noqa: PLR2004
            return None
        if any(type(value) is not int or not 0 <= value < 1 << 16 for value in colour):
            return None
        colours.append((colour[0], colour[1], colour[2]))
    return tuple(colours)


def _geo_fields(said: object) -> tuple[tuple[int, tuple[float, ...] | str], ...] | None:
    known = {str(tag): tag for tag in GEO_TAGS}
    return as_geotiff({known[name]: value for name, value in said.items() if name in known}) if isinstance(said, dict) else None


CHECKS: dict[str, Callable[[object], Any]] = {
    "icc": _icc,
    "resolution": lambda said: as_pair(said, UNITS),
    "colormap": as_colormap,
    "geotiff": _geo_fields,
    "nodata": as_text,
    "pixel_size": as_pair,
    "orientation": lambda said: said if type(said) is int and said in range(2, 9) else None,
    "axes": as_text,
}
