"""What an image means goes from input to output, through real processes, and other programs read it."""

from __future__ import annotations

import io
import json
import subprocess
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import tifffile

from patchcli import read_stack
from patchcli.images.metadata import Metadata
from patchcli.images.source import open_image
from tests.helpers.runs import Run, refused

if TYPE_CHECKING:
    from pathlib import Path

ICC = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
GEO = [
    (33550, "d", 3, (10.0, 10.0, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 500000.0, 4200000.0, 0.0), True),
    (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633), True),
    (42113, "s", 0, "-9999", True),
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    options: dict[str, Any] = {"extratags": GEO, "resolution": (300, 300), "resolutionunit": "inch", "metadata": None}
    tifffile.imwrite(tmp_path / "geo.tif", rng.random((96, 128)).astype("f4"), **options)
    colour = PIL.Image.fromarray(rng.integers(0, 256, (64, 96, 3), np.uint8))
    colour.save(tmp_path / "icc.png", icc_profile=ICC, dpi=(300, 300))
    return tmp_path


def meaning(path: Path, **options: Any) -> Metadata:
    return open_image(io.BytesIO(path.read_bytes()), **options).metadata


def place_of(path: Path) -> tuple[float, ...]:
    """What GDAL calls the geotransform."""
    tags = dict(meaning(path).geotiff)
    (sx, sy, _), (i, j, _, x, y, _) = (np.array(tags[tag]) for tag in (33550, 33922))
    assert (i, j) == (0, 0)
    return float(x), float(sx), 0, float(y), 0, -float(sy)


def quiet(ran: subprocess.CompletedProcess[bytes]) -> None:
    assert (ran.stderr.decode(), ran.returncode) == ("", 0)


CROPS = {
    "10 20 30 40": (500100, 10, 0, 4199800, 0, -10),
    "0 0 128 96 --size 256x192": (500000, 5, 0, 4200000, 0, -5),
    "1 0 126 96 --size 42x32": (500010, 30, 0, 4200000, 0, -30),
}


@pytest.mark.parametrize("box", CROPS)
def test_a_crop_lies_where_it_lay(patchcli: Run, place: Path, box: str) -> None:
    quiet(patchcli("crop", "geo.tif", "--box", *box.split(), "--resampling", "bilinear", "-o", "crop.tif"))
    assert place_of(place / "crop.tif") == CROPS[box]
    got = meaning(place / "crop.tif")
    assert got.nodata == "-9999"
    assert dict(got.geotiff)[34735] == GEO[2][3]
    assert got.resolution == (3000 / CROPS[box][1],) * 2 + ("inch",)


def test_aligned_corners_lie_in_the_middle_of_pixels(patchcli: Run, place: Path) -> None:
    how = "--align-corners", "--resampling", "bilinear", "--size", "255x191"
    quiet(patchcli("crop", "geo.tif", "--normalized-box", -1, -1, 1, 1, *how, "-o", "a.tif"))
    assert place_of(place / "a.tif") == (500002.5, 5, 0, 4199997.5, 0, -5)


@pytest.mark.parametrize("factor", [1, 2, 0.5])
def test_a_stack_knows_where_its_image_lies(patchcli: Run, place: Path, factor: float) -> None:
    quiet(patchcli("extract", "geo.tif", "-s", 32, "--stride", 16, "--offset", "16,32", "-o", "a.npz"))
    about = json.loads(str(np.load(place / "a.npz")["meta"]))["image"]["metadata"]
    assert sorted(about) == ["extrasamples", "geotiff", "nodata", "photometric", "resolution"]
    patches = read_stack(place / "a.npz")[0]
    step = int(1 / min(factor, 1))
    scaled = patches[:, ::step, ::step].repeat(max(1, int(factor)), 1).repeat(max(1, int(factor)), 2)
    np.save(place / "b.npy", scaled)
    quiet(patchcli("merge", "b.npy", "--like", "a.npz", "--trim", "-o", "trimmed.tif"))
    size = 10 / factor
    assert place_of(place / "trimmed.tif") == (500160, size, 0, 4199680, 0, -size)
    quiet(patchcli("merge", "b.npy", "--like", "a.npz", "--fill", 0, "-o", "filled.tif"))
    assert place_of(place / "filled.tif") == (500000, size, 0, 4200000, 0, -size)
    assert meaning(place / "filled.tif").resolution == (300 * factor, 300 * factor, "inch")


def test_whole_images_come_back_as_they_were(patchcli: Run, place: Path) -> None:
    for name in ("geo.tif", "icc.png"):
        quiet(patchcli("extract", name, "-s", 32, "-o", "a.npz", "--overwrite"))
        quiet(patchcli("merge", "a.npz", "-o", f"back-{name}"))
        assert meaning(place / f"back-{name}") == meaning(place / name)


@pytest.mark.parametrize("window", ["uniform", "hann"])
def test_a_cover_lies_where_its_image_lies(patchcli: Run, place: Path, window: str) -> None:
    quiet(patchcli("extract", "geo.tif", "-s", 32, "--offset", "16,8", "--edge", "drop", "-o", "a.npz"))
    call = ("merge", "a.npz", "--trim", "-o", "back.tif", "--cover", "cover.tif", "--window", window, "--overwrite")
    quiet(patchcli(*call))
    back, cover = meaning(place / "back.tif"), meaning(place / "cover.tif")
    assert place_of(place / "cover.tif") == place_of(place / "back.tif") == (500160, 10, 0, 4199920, 0, -10)
    assert (cover.geotiff, cover.resolution, cover.nodata) == (back.geotiff, back.resolution, None)
    quiet(patchcli(*call, "--metadata", "none"))
    assert meaning(place / "cover.tif") == Metadata()
    quiet(patchcli("extract", "icc.png", "-s", 32, "-o", "b.npz"))
    quiet(patchcli("merge", "b.npz", "-o", "back.png", "--cover", "cover.png"))
    assert meaning(place / "cover.png") == Metadata(resolution=meaning(place / "icc.png").resolution)


MIXED = "patchcli: geo.tif: its nodata value (-9999) is mixed into the pixels beside it; --resampling nearest keeps it apart\n"
ZEROS = (
    "patchcli: geo.tif: what lies outside the image becomes 0, not its nodata value (-9999); --outside error refuses such boxes\n"
)


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("--box 1 2 30 40", ""),
        ("--box 1.5 2 30 40", MIXED),
        ("--box 1 2 30 40 --size 20", MIXED),
        ("--normalized-box -1 -1 1 1", MIXED),
        ("--box 1 2 30 40 --size 9 --resampling area", ""),
        ("--box 1.5 2 30 40 --resampling nearest", ""),
        ("--box 100 2 30 40", ZEROS),
        ("--box 128 90 -30 -91", ZEROS),
        ("--box 100 2 30 40 --outside zeros", ""),
        ("--box 100 2 30 40 --outside border", ""),
        ("--box 100 2.5 30 40", MIXED + ZEROS),
    ],
)
def test_nodata_that_a_crop_does_not_keep_is_a_hint(patchcli: Run, asked: str, said: str) -> None:
    for more in ((), ("-n",)):
        ran = patchcli("crop", "geo.tif", *asked.split(), "-o", "crop.tif", *more, "--overwrite")
        assert (ran.stderr.decode(), ran.returncode) == (said, 0)


@pytest.mark.parametrize("target", [("-o", "crops.npz"), ("-d", "crops")])
def test_nodata_of_a_list_of_boxes_is_one_hint_of_a_kind(patchcli: Run, place: Path, target: tuple[str, ...]) -> None:
    (place / "boxes.csv").write_text("input,x,y,width,height\n" + "geo.tif,1.5,2,9,8\ngeo.tif,125,2,9,8\n" * 3)
    ran = patchcli("crop", "--boxes", "boxes.csv", "--size", 8, *target)
    assert (ran.stderr.decode(), ran.returncode) == (MIXED + ZEROS, 0)


def test_nodata_that_no_pixel_can_have_is_no_hint(patchcli: Run, place: Path) -> None:
    tifffile.imwrite(place / "bytes.tif", np.zeros((20, 30), np.uint8), extratags=GEO[3:], metadata=None)
    quiet(patchcli("crop", "bytes.tif", "--box", 25.5, 2, 9, 8, "-o", "crop.tif"))


def test_pillow_reads_profile_and_resolution(patchcli: Run, place: Path) -> None:
    for name in ("a.png", "a.jpg", "a.webp", "a.tif"):
        quiet(patchcli("crop", "icc.png", "--box", 3, 4, 20, 30, "-o", name))
        with PIL.Image.open(place / name) as seen:
            assert seen.info["icc_profile"] == ICC
            if name != "a.webp":
                assert seen.info["dpi"] == pytest.approx((300, 300), abs=0.01)


def test_what_is_lost_is_a_hint_that_metadata_none_silences(patchcli: Run, place: Path) -> None:
    ran = patchcli("crop", "icc.png", "--box", 3, 4, 20, 30, "-o", "a.ppm")
    assert (ran.stderr.decode(), ran.returncode) == (
        "patchcli: icc.png: PPM cannot hold its ICC profile; write PNG, TIFF or WEBP to keep it\n",
        0,
    )
    quiet(patchcli("crop", "icc.png", "--box", 3, 4, 20, 30, "-o", "b.ppm", "--metadata", "none"))
    quiet(patchcli("extract", "geo.tif", "-s", 32, "-o", "a.npz"))
    ran = patchcli("merge", "a.npz", "-o", "a.npy")
    said = "patchcli: a.npz: NPY cannot hold its georeference and nodata value; write TIFF to keep them\n"
    assert ran.stderr.decode() == said
    quiet(patchcli("merge", "a.npz", "-o", "b.tif", "--metadata", "none"))
    assert meaning(place / "b.tif") == Metadata()
    quiet(patchcli("extract", "geo.tif", "-s", 32, "-o", "b.npz", "--metadata", "none"))
    about = json.loads(str(np.load(place / "b.npz")["meta"]))["image"]["metadata"]
    assert about == {"photometric": "minisblack", "extrasamples": []}


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_an_orientation_that_was_not_applied_is_kept(patchcli: Run, place: Path, suffix: str) -> None:
    exif = PIL.Image.Exif()
    exif[274] = 6
    PIL.Image.open(place / "icc.png").save(place / "turned.jpg", exif=exif)
    quiet(patchcli("crop", "turned.jpg", "--box", 0, 0, 20, 30, "--no-exif-rotate", "-o", f"stored.{suffix}"))
    quiet(patchcli("crop", "turned.jpg", "--box", 0, 0, 20, 30, "-o", f"upright.{suffix}"))
    for name, said, orientation in (("stored", 6, 6), ("upright", 1, None)):
        with PIL.Image.open(place / f"{name}.{suffix}") as seen:
            assert seen.getexif().get(274, 1) == said
        assert meaning(place / f"{name}.{suffix}", rotate=False).orientation == orientation


def test_a_profile_that_is_damaged_is_left_out_without_a_word(patchcli: Run, place: Path) -> None:
    png = (place / "icc.png").read_bytes()
    at = png.index(b"iCCP")
    (place / "bad.png").write_bytes(png[: at + 30] + b"\x1b[31m" + png[at + 35 :])
    quiet(patchcli("crop", "bad.png", "--box", 0, 0, 9, 9, "-o", "a.png"))
    assert meaning(place / "a.png").icc == b""


def test_co_is_for_formats_that_have_the_key(patchcli: Run, place: Path) -> None:
    for options in (("--co", "tile=16"), ("--co", "compression=zstd"), ("--co", "tile=32", "--co", "compression=lzw")):
        quiet(patchcli("crop", "geo.tif", "--box", 0, 0, 70, 50, "-o", "a.tif", "--overwrite", *options))
        page = tifffile.TiffFile(io.BytesIO((place / "a.tif").read_bytes())).pages.first
        assert page.is_tiled == ("tile" in str(options))
        assert page.asarray().shape == (50, 70)
        assert place_of(place / "a.tif") == (500000, 10, 0, 4200000, 0, -10)
    said = "PNG has no --co key 'tile'; it has level"
    refused(patchcli("crop", "icc.png", "--box", 0, 0, 9, 9, "-o", "n.png", "--co", "tile=16"), said, code=2)
    (place / "icc.jpg").write_bytes((place / "icc.png").read_bytes())
    call = ("crop", "icc.png", "icc.jpg", "--box", 0, 0, 9, 9, "-d", "d", "--co")
    said = "d/icc.png: PNG has no --co key 'quality'; it has level; --image-format jpeg writes one that takes it"
    refused(patchcli(*call, "quality=50"), said, code=2)
    ran = patchcli(*call, "quality=50", "--image-format", "png")
    assert ran.stderr.decode() == "patchcli: d/icc.png.png: PNG has no --co key 'quality'; it has level\n"
    ran = patchcli(*call, "quality=50", "--co", "tile=16")
    assert ran.stderr.decode() == "patchcli: d/icc.jpg: JPEG has no --co key 'tile'; it has quality\n"
    refused(patchcli("crop", "icc.png", "--box", 0, 0, 9, 9, "-o", "n.png", "--co", "level"), "not a key and its value", code=2)
    assert not (place / "n.png").exists()


@pytest.mark.usefixtures("place")
def test_co_and_metadata_are_a_part_of_the_recipe(patchcli: Run) -> None:
    command = ("crop", "geo.tif", "--box", 0, 0, 70, 50, "-o", "a.tif", "--resume")
    quiet(patchcli(*command))
    refused(patchcli(*command, "--co", "tile=16"), "a.tif: was made with --co at its default, not at tile=16;")
    refused(patchcli(*command, "--metadata", "none"), "a.tif: was made with --metadata at its default, not at none;")


def test_a_tiff_goes_to_a_pipe(patchcli: Run, place: Path) -> None:
    command = ("crop", "geo.tif", "--box", 0, 0, 70, 50, "--co", "tile=16")
    quiet(patchcli(*command, "-o", "a.tif"))
    ran = patchcli(*command, "-o", "-", "--image-format", "tiff")
    assert (ran.returncode, ran.stdout) == (0, (place / "a.tif").read_bytes())


def test_metadata_of_a_stack_is_bounded(patchcli: Run, place: Path) -> None:
    profile = (3 << 20).to_bytes(4) + ICC[4:128] + bytes((3 << 20) - 128)
    image = np.zeros((8, 8, 3), np.uint8)
    tifffile.imwrite(place / "large.tif", image, iccprofile=profile, photometric="rgb", metadata=None)
    ran = patchcli("extract", "large.tif", "-s", 4, "-o", "a.npz")
    said = "patchcli: large.tif: has metadata too large for a stack; left out: icc\n"
    assert (ran.stderr.decode(), ran.returncode) == (said, 0)
    profile = (2 << 20).to_bytes(4) + ICC[4:128] + bytes((2 << 20) - 128)
    tifffile.imwrite(place / "large.tif", image, iccprofile=profile, photometric="rgb", metadata=None)
    quiet(patchcli("extract", "large.tif", "-s", 4, "-o", "a.npz", "--overwrite"))
    quiet(patchcli("merge", "a.npz", "-o", "back.tif"))
    assert meaning(place / "back.tif").icc == profile


# -- as GDAL reads it ---------------------------------------------------------------------------------------------------------


def test_gdal_reads_the_place_on_earth(patchcli: Run, place: Path) -> None:
    rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed; make .venv/peers.stamp installs it")
    for number, (box, expected) in enumerate(CROPS.items()):
        quiet(
            patchcli(
                "crop", "geo.tif", "--box", *box.split(), "--resampling", "bilinear", "-o", f"{number}.tif", "--co", "tile=16"
            )
        )
        with rasterio.open(place / f"{number}.tif") as seen:
            assert seen.transform.to_gdal() == expected
            assert seen.crs.to_epsg() == 32633
            assert seen.nodata == -9999
            assert seen.profile["tiled"]
            assert seen.tags()["AREA_OR_POINT"] == "Area"


@pytest.mark.parametrize("scale", [1 / 3, 0.5, 2])
def test_gdal_agrees_on_points_and_areas(tmp_path: Path, patchcli: Run, scale: float) -> None:
    rasterio = pytest.importorskip("rasterio", reason="rasterio is not installed; make .venv/peers.stamp installs it")
    before = []
    for kind in (1, 2):
        keys = (34735, "H", 16, (*GEO[2][3][:11], kind, *GEO[2][3][12:]), True)
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((60, 90), np.uint8), extratags=[*GEO[:2], keys], metadata=None)
        size = f"{round(90 * scale)}x{round(60 * scale)}"
        quiet(
            patchcli(
                "crop", "a.tif", "--box", 0, 0, 90, 60, "--size", size, "--resampling", "bilinear", "-o", "b.tif", "--overwrite"
            )
        )
        with rasterio.open(tmp_path / "a.tif") as one, rasterio.open(tmp_path / "b.tif") as other:
            assert other.bounds == one.bounds  # of outer edges, whatever a coordinate stands for
            before.append(one.bounds)
    assert before[0] != before[1]


@pytest.mark.parametrize("channels", [2, 4])
def test_the_last_channel_of_an_array_is_not_taken_for_alpha(patchcli: Run, tmp_path: Path, channels: int) -> None:
    image = np.random.default_rng(0).random((16, 16, channels)).astype("f4")
    np.save(tmp_path / "a.npy", image)
    box = ("--box", 0, 0, 16, 16)
    quiet(patchcli("crop", "a.npy", *box, "--size", 8, "--resampling", "area", "-o", "half.npy"))
    assert np.allclose(np.load(tmp_path / "half.npy"), image.reshape(8, 2, 8, 2, channels).mean((1, 3)), atol=1e-6)
    quiet(patchcli("crop", "a.npy", *box, "-o", "a.tif"))
    assert meaning(tmp_path / "a.tif").extrasamples == ("unspecified",)


def told(ran: subprocess.CompletedProcess[bytes], name: str, hint: str) -> None:
    assert (ran.stderr.decode(), ran.returncode) == (f"patchcli: {name}: {hint}\n", 0)


def test_what_is_lost_while_an_image_is_read_is_a_hint(patchcli: Run, tmp_path: Path) -> None:
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    options: dict[str, Any] = {"metadata": None, "photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)}
    tifffile.imwrite(tmp_path / "turned.tif", image, extratags=[*GEO[:3], (274, "H", 1, 6, True)], metadata=None)
    tifffile.imwrite(tmp_path / "palette.tif", image, extratags=[(42113, "s", 0, "3", True)], **options)
    hints = {
        "turned.tif": "its georeference is lost, for it is turned as its orientation says; --no-exif-rotate keeps it",
        "palette.tif": "its nodata value 3 is lost, for it is an index of its colours; --color indices keeps it",
    }
    for name, hint in hints.items():
        crop, extract = ("crop", name, "--box", 0, 0, 4, 4, "-o", "a.tif"), ("extract", name, "-s", 4, "-o", "a.npz")
        for command in (crop, extract):
            told(patchcli(*command, "--overwrite"), name, hint)
            quiet(patchcli(*command, "--overwrite", "--metadata", "none"))


def test_nodata_that_another_dtype_cannot_hold_is_a_hint(patchcli: Run, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "geo.tif", np.full((32, 32), 9, "f4"), extratags=GEO, metadata=None)
    quiet(patchcli("extract", "geo.tif", "-s", 32, "-o", "m.npz"))
    hint = "its nodata value -9999 is no value of uint8; --dtype float32 keeps it"
    merge = ("merge", "m.npz", "--dtype", "uint8", "--overwrite", "-o", "m.tif")
    told(patchcli(*merge), "m.npz", hint)
    quiet(patchcli(*merge, "--metadata", "none"))
    lost = "PNG cannot hold its georeference and nodata value; write TIFF to keep them"
    told(patchcli("merge", "m.npz", "--dtype", "uint8", "-o", "m.png"), "m.npz", lost)  # and no dtype keeps it there


def test_a_large_profile_is_kept_but_in_a_stack(patchcli: Run, tmp_path: Path) -> None:
    size = 5 << 20
    icc = size.to_bytes(4) + ICC[4:] + bytes(size - len(ICC))
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((8, 8, 3), np.uint8), photometric="rgb", iccprofile=icc, metadata=None)
    quiet(patchcli("crop", "a.tif", "--box", 0, 0, 4, 4, "-o", "b.tif"))
    assert meaning(tmp_path / "b.tif").icc == icc
    told(patchcli("extract", "a.tif", "-s", 4, "-o", "a.npz"), "a.tif", "has metadata too large for a stack; left out: icc")
