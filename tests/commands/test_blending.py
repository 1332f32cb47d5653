"""``merge`` by every rule, from shards, of patches of another size: through real processes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from patchcli import Grid, extract, merge, read_stack
from tests.helpers.runs import SAMPLES, Run, read_image, refused, untouched, write_image

if TYPE_CHECKING:
    from pathlib import Path


def process(tmp_path: Path, script: str, source: str, target: str) -> None:
    """What users do between extract and merge: a script of numpy's own functions."""
    code = f"import numpy as np; z = dict(np.load({source!r})); p = z['patches']; {script}; np.savez({target!r}, **z)"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def done(ran: subprocess.CompletedProcess[bytes], said: bytes = b"") -> None:
    assert (ran.returncode, ran.stderr) == (0, said)


@pytest.fixture
def image(tmp_path: Path, patchcli: Run) -> NDArray[Any]:
    pixels = np.random.default_rng(4).integers(0, 256, (37, 45, 3), np.uint8)
    write_image(tmp_path / "a.png", pixels)
    done(patchcli("extract", "a.png", "-s", "12x9", "--stride", "5x4", "-o", "a.npz"))
    return pixels


GRID = Grid((37, 45), (9, 12), (4, 5))


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["stack", "grid", "rows", "columns"])
@pytest.mark.parametrize("rule", ["mean", "sum", "min", "max", "median", "first", "last", "hann", "w.npy"])
def test_rules_and_layouts(patchcli: Run, tmp_path: Path, image: NDArray[Any], rule: str, layout: str) -> None:
    weights = np.random.default_rng(0).random((9, 12))
    np.save(tmp_path / "w.npy", weights)
    done(
        patchcli("extract", "a.png", "-s", "12x9", "--stride", "5x4", "--layout", layout, "--pixel-order", "F", "-o", "b.npz")
        if layout in ("rows", "columns")
        else patchcli("extract", "a.png", "-s", "12x9", "--stride", "5x4", "--layout", layout, "-o", "b.npz")
    )
    process(tmp_path, "z['patches'] = np.sqrt(p.astype('f4') + np.arange(p.size).reshape(p.shape) % 7)", "b.npz", "c.npz")
    windowed = rule in ("hann", "w.npy")
    options = ["--window", rule] if windowed else ["--reduce", rule]
    done(patchcli("merge", "c.npz", *options, "--dtype", "float32", "-o", "c.tif"))
    patches = read_stack(tmp_path / "c.npz").patches
    given: dict[str, Any] = {"window": weights if rule == "w.npy" else rule} if windowed else {"reduce": rule}
    assert np.allclose(read_image(tmp_path / "c.tif"), merge(patches, GRID, **given), rtol=2e-7)
    assert image.shape == (37, 45, 3)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["stack", "rows", "columns"])
@pytest.mark.parametrize("rule", ["mean", "median", "last", "hann"])
def test_shards_in_any_order(patchcli: Run, tmp_path: Path, image: NDArray[Any], rule: str, layout: str) -> None:
    cut = ["extract", "a.png", "-s", "12x9", "--stride", "5x4", "--layout", layout]
    done(patchcli(*cut, "--shard-patches", 17, "-o", "part.npz"))
    done(patchcli(*cut, "--max-patches", "60%", "--shard-patches", 9, "-o", "some.npz"))
    options = ["--window", rule] if rule == "hann" else ["--reduce", rule]
    names = sorted(path.name for path in tmp_path.glob("part-*"))
    for order in (names, names[::-1], names[1:] + names[:1]):
        done(patchcli("merge", *order, *options, "--overwrite", "-o", "back.png"))
        assert np.array_equal(read_image(tmp_path / "back.png"), image)
    some = sorted(path.name for path in tmp_path.glob("some-*"))
    done(patchcli("merge", *some[::-1], *options, "--fill", 0, "-o", "some.png"))
    covered = np.zeros((37, 45), bool)
    for name in some:
        for row, column in read_stack(tmp_path / name).origins:
            covered[row : row + 9, column : column + 12] = True
    assert np.array_equal(read_image(tmp_path / "some.png"), np.where(covered[..., None], image, 0))
    done(patchcli("merge", names[1], *options, "--fill", 0, "--trim", "-o", "one.png"))  # a shard alone


def test_shards_that_do_not_belong_together(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    done(patchcli("extract", "a.png", "-s", 9, "--shard-patches", 8, "-o", "x.npz"))
    done(patchcli("extract", "a.png", "-s", 10, "--shard-patches", 8, "-o", "y.npz"))
    (first, second, *_), other = sorted(tmp_path.glob("x-*")), min(tmp_path.glob("y-*"))
    copy = tmp_path / "copy.npz"
    copy.write_bytes(second.read_bytes())
    done(patchcli("extract", "a.png", "-s", 9, "--max-patches", 25, "--seed", 1, "--shard-patches", 8, "-o", "all.npz"))
    done(patchcli("extract", "a.png", "-s", 9, "--max-patches", 24, "--seed", 1, "--shard-patches", 7, "-o", "z.npz"))
    drawn = min(tmp_path.glob("z-*"))
    whole = bytearray(second.read_bytes())
    (tmp_path / "short.npz").write_bytes(whole[:-300])
    whole[-700] ^= 1
    (tmp_path / "flipped.npz").write_bytes(whole)
    process(tmp_path, "z['patches'] = p * 1.0", second.name, "wide.npz")
    for inputs, sentence in (
        ((first.name, second.name, copy.name), "copy.npz and x-00001-of-00004.npz are the same shard, 1 of 4"),
        ((first.name, other.name), f"{other.name} is a shard of something else than {first.name}"),
        ((first.name, drawn.name), f"{drawn.name} is a shard of something else than {first.name}"),
        ((first.name, "a.npz"), "a.npz is not a shard"),
        ((first.name, "missing.npz"), "its shard missing.npz cannot be read"),
        ((first.name, "a.png"), "its shard a.png is not a patch stack or an array"),
        ((first.name, "flipped.npz"), "its shard flipped.npz member 'patches' is damaged"),
        ((first.name, "short.npz"), "its shard short.npz is truncated or damaged"),
        ((first.name, "wide.npz"), "wide.npz holds patches of shape (9, 9, 3) and dtype float64, but"),
    ):
        ran = patchcli("merge", *inputs, "--fill", 0, "-o", "x.png")
        refused(ran, sentence, 1)
    assert not (tmp_path / "x.png").exists()
    assert len(image)


@pytest.mark.slow
@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.png")), ids=lambda path: path.name)
def test_patches_upscaled_by_a_script(patchcli: Run, tmp_path: Path, sample: Path) -> None:
    done(patchcli("extract", sample, "-s", 16, "--stride", 7, "--margin", 2, "-o", "a.npz"))
    ones = "np.ones((1, 2, 2) + (1,) * (p.ndim - 3), p.dtype)"
    process(tmp_path, f"z['patches'] = np.kron(p, {ones})", "a.npz", "b.npz")
    target = "b.tif" if read_image(sample).dtype == bool else "b.png"
    done(patchcli("merge", "b.npz", "-o", target))
    pixels = read_image(sample)
    assert np.array_equal(read_image(tmp_path / target), pixels.repeat(2, axis=0).repeat(2, axis=1))


def test_class_scores(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    process(tmp_path, "z['patches'] = (p[..., :1] * np.linspace(0, 1, 7) / 255).astype('f4')", "a.npz", "scores.npz")
    for target in ("scores.npy", "scores.tif"):
        done(patchcli("merge", "scores.npz", "--dtype", "float32", "-o", target))
    scores = np.load(tmp_path / "scores.npy")
    assert scores.shape == (37, 45, 7)
    assert scores.dtype == np.float32
    assert np.array_equal(read_image(tmp_path / "scores.tif"), scores)
    assert np.allclose(scores, image[..., :1] * np.linspace(0, 1, 7) / 255, atol=1e-6)


def test_unit_range_and_its_hint(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    process(tmp_path, "z['patches'] = p.astype('f4') / 255", "a.npz", "unit.npz")
    done(patchcli("merge", "unit.npz", "--unit-range", "-o", "u.png"))
    assert np.array_equal(read_image(tmp_path / "u.png"), image)
    done(patchcli("merge", "unit.npz", "--unit-range", "--dtype", "uint16", "-o", "u16.png"))
    assert np.array_equal(read_image(tmp_path / "u16.png"), image.astype(np.uint16) * 257)
    hint = (
        b"patchcli: unit.npz: values lie between 0 and 1 but the image is uint8; --unit-range takes 0 to 1 for its full range, "
        b"--dtype float32 keeps them\n"
    )
    done(patchcli("merge", "unit.npz", "-o", "dark.png"), hint)
    done(patchcli("merge", "unit.npz", "-q", "-o", "quiet.png"))
    done(patchcli("merge", "unit.npz", "--dtype", "float32", "-o", "f.tif"))
    process(tmp_path, "z['patches'] = (p > 99).astype('f4')", "a.npz", "labels.npz")
    done(patchcli("merge", "labels.npz", "-o", "labels.png"))  # whole numbers: a mask, as it is meant
    done(patchcli("merge", "labels.npz", "--reduce", "max", "-o", "max.png"))
    ran = patchcli("merge", "a.npz", "--unit-range", "-o", "x.png")
    assert ran.returncode == 1
    assert b"patches are uint8 and the image uint8; --unit-range is for floats that become integers" in ran.stderr


def test_cover_of_a_window(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    done(patchcli("merge", "a.npz", "-o", "m.png", "--cover", "counts.npy"))
    done(patchcli("merge", "a.npz", "--window", "hann", "-o", "h.png", "--cover", "weights.npy"))
    done(patchcli("merge", "a.npz", "--reduce", "median", "-o", "d.png", "--cover", "median.npy"))
    counts, weights = np.load(tmp_path / "counts.npy"), np.load(tmp_path / "weights.npy")
    assert np.array_equal(counts, GRID.cover())
    assert np.array_equal(np.load(tmp_path / "median.npy"), counts)
    assert weights.dtype == np.float32
    assert weights.shape == image.shape[:2]
    assert (weights > 0).all()
    assert (weights <= counts).all()


def in_gray(numbers: NDArray[Any]) -> NDArray[Any]:
    """What an image of a cover shows: the most is white, no patch black, and nothing else is."""
    most = numbers.max()
    shown = [0 if number == 0 else max(1, round(number * 255 / most)) for number in numbers.reshape(-1).tolist()]
    return np.array(shown, "u1").reshape(numbers.shape)


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize("window", ["uniform", "hann", "w.npy"])
@pytest.mark.parametrize("cut", [["--stride", "5x4"], ["--stride", 2, "--max-patches", 40], ["--stride", 1, "--edge", "drop"]])
def test_a_cover_as_an_image_can_be_seen(cut: list[Any], window: str, patchcli: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.random.default_rng(0).random((31, 40)))
    done(patchcli("extract", "a.png", "-s", "40x31", *cut, "-o", "b.npz"))
    call = ("merge", "b.npz", "--fill", 0, "--window", window, "-o", "b.png", "--overwrite", "--cover")
    for suffix in ("npy", "png", "tif", "jpg", "pgm"):
        done(patchcli(*call, f"c.{suffix}"))
    numbers = np.load(tmp_path / "c.npy")
    assert numbers.dtype == (np.float32 if window != "uniform" else np.uint8)
    expected = in_gray(numbers)
    for suffix in ("png", "tif", "pgm"):
        shown = read_image(tmp_path / f"c.{suffix}")
        assert shown.dtype == np.uint8
        apart = np.abs(shown.astype(int) - expected)
        assert apart.max() <= (window != "uniform"), suffix  # weights in the file are rounded to float32, which may tip a half
        assert np.array_equal(shown == 0, numbers == 0)
    assert np.abs(read_image(tmp_path / "c.jpg").astype(int) - expected).mean() < 3


def test_few_patches_beside_very_many_are_not_black(patchcli: Run, tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((60, 60), np.uint8))
    done(patchcli("extract", "a.png", "-s", 25, "--stride", 1, "-o", "a.npz"))
    done(patchcli("merge", "a.npz", "-o", "b.png", "--cover", "c.png"))
    done(patchcli("merge", "a.npz", "-o", "d.png", "--trim", "--cover", "c.npy"))
    counts, shown = np.load(tmp_path / "c.npy"), read_image(tmp_path / "c.png")
    assert (counts.dtype, counts.max(), shown[0, 0], shown[30, 30]) == (np.uint16, 625, 1, 255)
    assert np.array_equal(shown, in_gray(counts))


def test_sampled_patches_round_trip(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    done(patchcli("extract", "a.png", "-s", "12x9", "--stride", "5x4", "--max-patches", 30, "-o", "s.npz"))
    done(patchcli("merge", "s.npz", "--fill", 0, "--cover", "c.npy", "-o", "s.png"))
    covered = np.load(tmp_path / "c.npy") > 0
    assert np.array_equal(read_image(tmp_path / "s.png"), np.where(covered[..., None], image, 0))


BAD: dict[str, tuple[list[Any], str]] = {
    "window and median": (["--window", "hann", "--reduce", "median"], "--window is for --reduce mean, not for median"),
    "window and sum": (["--window", "w.npy", "--reduce", "sum"], "--window is for --reduce mean, not for sum"),
    "unknown window": (["--window", "kaiser"], "--window is 'kaiser'; choose uniform"),
    "unit range and float": (["--unit-range", "--dtype", "float32"], "--unit-range is for integer images"),
    "unit range and bool": (["--unit-range", "--dtype", "bool"], "--unit-range is for integer images"),
    "unit range and sum": (["--unit-range", "--reduce", "sum"], "--unit-range is for values from 0 to 1"),
    "nonfinite and integers": (["--allow-nonfinite", "--dtype", "uint8"], "--allow-nonfinite is for float images"),
    "unknown rule": (["--reduce", "vote"], "--reduce"),
    "cover in colour": (["--cover", "c.webp"], "--cover c.webp: WEBP cannot hold uint8 with 1 channel; allowed are png, tiff"),
    "quiet and loud": (["-q", "-v"], "use only one of -q and -v"),
    "original from standard input": (["--compare", "-"], "--compare is the name of a file; standard input (-) is not one"),
    "original without a name": (["--compare", ""], "an empty name was given to --compare; give the name of a file"),
    "output is the original": (["--compare", "x.npy", "--image-format", "npy", "-o", "x.npy"], "is an input too"),
    "like and shards": (["a.npz", "--like", "a.npz"], "--like is for one input"),
    "output is the window": (["--window", "x.npy", "--image-format", "npy", "-o", "x.npy"], "is an input too"),
}


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize("which", BAD)
def test_bad_combinations_are_one_line(patchcli: Run, tmp_path: Path, which: str) -> None:
    options, message = BAD[which]
    np.save(tmp_path / "x.npy", np.ones((9, 12)))
    with untouched(tmp_path):
        refused(patchcli("merge", "a.npz", *([] if "-o" in options else ["-o", "out.png"]), *options), message)


@pytest.mark.usefixtures("image")
@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (np.ones((3, 3)), r"--window w.npy window has shape (3, 3); expected (9, 12)"),
        (np.full((9, 12), -1.0), "negative"),
        (np.full((9, 12), np.inf), "infinite"),
        (np.zeros((9, 12)), "all 0"),
        (np.ones((9, 12), complex), "has a .npy header that does not describe a plain array of real numbers"),
        (np.full((9, 12), "abc"), "window has dtype <U3; allowed are bool, integers and floats"),
    ],
)
def test_bad_window_files(patchcli: Run, tmp_path: Path, weights: NDArray[Any], sentence: str) -> None:
    np.save(tmp_path / "w.npy", weights)
    ran = patchcli("merge", "a.npz", "--window", "w.npy", "-o", "x.png")
    refused(ran, sentence, 1)


def test_a_seam_goes_away() -> None:
    """Patches whose brightness is off, each by its own amount: the step across their borders, with and without a window."""
    flat = np.full((128, 128), 100.0)
    steps = {}
    for name, stride, window in (
        ("none", 32, "uniform"),
        ("uniform", 16, "uniform"),
        ("hann", 16, "hann"),
        ("triangle", 16, "triangle"),
        ("gaussian", 16, "gaussian"),
    ):
        grid = Grid(flat.shape, 32, stride)
        patches = extract(flat, grid)[0] + np.random.default_rng(0).uniform(-20, 20, (grid.count, 1, 1))
        merged = merge(patches, grid, window=window)
        steps[name] = np.abs(np.diff(merged, axis=1)).max()
    assert steps["uniform"] > 3
    assert max(steps["hann"], steps["triangle"], steps["gaussian"]) < steps["uniform"] / 2


def test_missing_shards_are_told(patchcli: Run, tmp_path: Path, image: NDArray[Any]) -> None:
    done(patchcli("extract", "a.png", "-s", 12, "--stride", 2, "--shard-patches", 90, "-o", "x.npz"))
    names = sorted(path.name for path in tmp_path.glob("x-*"))
    done(patchcli("merge", names[0], *names[2:], "-o", "x.png"), b"patchcli: %s: 2 of 3 shards were given\n" % names[0].encode())
    assert np.array_equal(read_image(tmp_path / "x.png"), image)


def test_more_shards_than_files_may_be_open(tmp_path: Path, image: NDArray[Any]) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))"
    code = f"{limit}; import runpy; runpy.run_module('patchcli', None, '__main__')"

    def run(*arguments: Any) -> None:
        done(subprocess.run([sys.executable, "-c", code, *map(str, arguments)], cwd=tmp_path, capture_output=True, check=False))

    run("extract", "a.png", "-s", "12x9", "--stride", "5x4", "--shard-patches", 1, "-o", "x.npz")
    names = sorted(path.name for path in tmp_path.glob("x-*"))
    assert len(names) > 60
    run("merge", *names, "-o", "x.png")
    run("merge", *names, "--reduce", "median", "-o", "y.png")
    assert np.array_equal(read_image(tmp_path / "x.png"), image)
    assert np.array_equal(read_image(tmp_path / "y.png"), image)


@pytest.mark.parametrize("reduce", ["first", "last", "max"])
def test_float16_becomes_integers_without_a_word(patchcli: Run, tmp_path: Path, image: NDArray[Any], reduce: str) -> None:
    process(tmp_path, "z['patches'] = p.astype('f2')", "a.npz", "half.npz")
    done(patchcli("merge", "half.npz", "--dtype", "uint16", "--reduce", reduce, "-o", "half.tif"))
    assert np.array_equal(read_image(tmp_path / "half.tif"), image)


@pytest.mark.usefixtures("image")
def test_options_that_the_file_makes_meaningless(patchcli: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "bare.npy", read_stack(tmp_path / "a.npz").patches)
    for options, sentence in (
        (["bare.npy", "--like", "a.npz", "--key", "x"], "--key is for .npz"),
        (["a.npz", "--allow-nonfinite"], "becomes an image of uint8; --allow-nonfinite is for float images"),
        (["bare.npy", "--like", "bare.npy"], "--like bare.npy is an array without origins"),
    ):
        ran = patchcli("merge", *options, "-o", "x.png")
        assert ran.returncode in (1, 2)
        assert ran.stderr.count(b"\n") == 1
        assert sentence in ran.stderr.decode() or "is an input too" in ran.stderr.decode()


@pytest.mark.parametrize("sigma", [0.5, 2, 3, 6])
def test_narrow_windows_are_exact(patchcli: Run, tmp_path: Path, image: NDArray[Any], sigma: float) -> None:
    rows, columns = (np.exp(-((np.arange(size) - (size - 1) / 2) ** 2) / (2 * sigma**2)) for size in (9, 12))
    np.save(tmp_path / "w.npy", np.outer(rows, columns) * 1e30)
    done(patchcli("merge", "a.npz", "--window", "w.npy", "-o", "w.png"))
    assert np.array_equal(read_image(tmp_path / "w.png"), image)
