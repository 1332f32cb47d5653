"""What the samples of an image mean, beside their values: kept from the source to whatever is made of it."""

from __future__ import annotations

from typing import Any, NamedTuple

COLOURS = {"minisblack": 1, "miniswhite": 1, "rgb": 3}  # photometric kinds, and how many samples of a pixel are its colour
ALPHA = "unassalpha"  # as most formats have it; "assocalpha" has colours that were multiplied by it already
MAX_SAMPLES = (1 << 16) - 1  # samples of a pixel, as TIFF counts them
EXTRA = ("unspecified", "assocalpha", ALPHA)  # by the numbers that TIFF has for them


class Metadata(NamedTuple):
    """What the samples of a pixel are: first its colour, then extra ones.

    Attributes:
        photometric: a key of `COLOURS`.
        extrasamples: of `EXTRA`, one for each sample behind the colour.
        icc: the ICC profile; empty where there is none.
        resolution: pixels along width and height, and in what: "inch" or "centimeter".
        colormap: red, green and blue, 16 bits each, of the values of an image of indices.
        geotiff: the GeoTIFF tags by number, with their values: where on earth the image lies.
        nodata: the value that stands for no data, as GDAL writes it.
        pixel_size: width and height of a pixel, and the unit.
        orientation: as EXIF has it, of an image that was not turned; None for upright.
        axes: of the file that the image is a plane of, as tifffile names them.
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

        >>> Metadata.usual(4)
        Metadata(photometric='rgb', extrasamples=('unassalpha',))
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

    def matching(self, channels: int) -> Metadata:
        """The same, for an image that was made of this one and has so many channels."""
        if self.channels == channels:
            return self
        usual = Metadata.usual(channels)
        return self._replace(photometric=usual.photometric, extrasamples=usual.extrasamples, colormap=None)

    def in_words(self) -> str:
        """As TIFF calls it."""
        return " + ".join([self.photometric, *self.extrasamples])

    def fields(self) -> dict[str, Any]:
        """The metadata as a JSON object; unspecified samples at the end are left out."""
        extra = list(self.extrasamples)
        while extra and extra[-1] == EXTRA[0]:
            extra.pop()
        return {"photometric": self.photometric, "extrasamples": extra}

    @classmethod
    def from_fields(cls, fields: dict[str, Any], channels: int) -> Metadata:
        """Read it for an image of so many channels; what is missing or not understood is as usual."""
        photometric, extra = fields.get("photometric"), fields.get("extrasamples")
        if not isinstance(photometric, str) or photometric not in COLOURS or not isinstance(extra, list):
            return cls.usual(channels)
        named = tuple(one if isinstance(one, str) else EXTRA[0] for one in extra[:MAX_SAMPLES])
        return cls.of(channels, photometric, named).matching(channels)
