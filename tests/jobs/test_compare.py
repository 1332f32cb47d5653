"""An original read in bands beside the lines of an image, which come in other pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from patchcli.images.difference import Differences
from patchcli.jobs import compare
from patchcli.jobs.compare import Comparison
from patchcli.jobs.reading import open_input_image
from patchcli.jobs.settings import Reading
from tests.helpers.runs import gray, write_image

if TYPE_CHECKING:
    from pathlib import Path

BOX = slice(5, 190), slice(3, 80)
FORMATS: dict[str, dict[str, Any]] = {
    "a.png": {},
    "a.npy": {},
    "a.tif": {"rowsperstrip": 7},
    "b.tif": {"tile": (32, 48), "compression": "zlib"},
}


@pytest.mark.parametrize("together", [1, 90 * 10, 1 << 22])
@pytest.mark.parametrize("name", FORMATS)
def test_pieces_of_lines_meet_bands_of_any_height(
    name: str, together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "ORIGINAL_BYTES", together)
    original, image = gray(200, 90), gray(200, 90, seed=1)[BOX]
    if FORMATS[name]:
        tifffile.imwrite(tmp_path / name, original, **FORMATS[name])
    else:
        write_image(tmp_path / name, original)
    expected = Differences(original.dtype)
    expected.add(original[BOX], image)
    cuts = np.random.default_rng(0).integers(0, len(image), 20)
    for pieces in (np.split(image, np.sort(cuts)), [image], np.split(image, len(image))):
        with open_input_image(str(tmp_path / name), Reading()) as given:
            comparison = Comparison(name, given, BOX)
            passed = list(comparison.watched(pieces))
            assert all(ours is theirs for ours, theirs in zip(passed, pieces, strict=True))
        fields = comparison.fields()
        assert fields.pop("original") == name
        assert fields == pytest.approx(expected.figures().fields(), rel=1e-12)
        assert comparison.in_words() == f"against {name}: {expected.figures().in_words()}"
