"""``map`` as it is run: the same image as by way of a stack, by however many workers, and nothing half-written."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.helpers.runs import Run, children, gray, read_image, refused, tree, write_image

if TYPE_CHECKING:
    from pathlib import Path

    from tests.helpers.loopback import Loopback

FUNCTIONS = '''
from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Literal

import numpy as np
from beside import TWO


def smooth(patches, *, gain: float = 1.0):
    """Floats, whose sums depend on their order."""
    mean = patches.astype(np.float32).mean(axis=(1, 2), keepdims=True)
    return (patches * np.float32(0.3) + mean * np.float32(0.7 / 3)) * np.float32(gain)


def double(patches):
    print("called")
    return patches.repeat(TWO, axis=1).repeat(TWO, axis=2)


def inner(patches):
    return patches[:, 2:-2, 2:-2]


def first_channels(patches):
    return np.moveaxis(np.stack([patches] * 3, axis=-1), -1, 1)


def where(patches, origins):
    return (origins.sum(axis=1)[:, None, None] + np.zeros(patches.shape[1:3])).astype(np.int32)


def failing(patches, origins):
    if origins[0, 0] > 60:
        raise ValueError("a dark\\nday")
    return patches


def slow(patches):
    time.sleep(0.1)
    return patches


def ending(patches):
    sys.exit(3)


def interrupting(patches):
    raise KeyboardInterrupt


def wandering(patches):
    os.chdir("/")
    os.write(1, b"written\\n")
    subprocess.run(["echo", "echoed"], check=True)
    return patches


def scores(patches):
    return (patches > 100)[..., None]


def typed(patches: NoName, *, number: int, name, share: float | None = None, mode: Literal["a", "b"] = "a", loud: bool = False):
    print([number, name, share, mode, loud])
    return patches


def strange(patches, *, table: list[int] = ()):
    return patches


class Model:
    @staticmethod
    def apply(patches):
        return patches


NUMBER = 3
'''
CALLER = "import sys, numpy as np; sys.path[:0] = ['.']; import f"
SMOOTH = ("--func", "f.py:smooth")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "f.py").write_text(FUNCTIONS)
    (tmp_path / "beside.py").write_text("TWO = 2\n")
    write_image(tmp_path / "a.png", gray(110, 90))
    return tmp_path


def by_stack(patchcli: Run, folder: Path, extract: list[object], merge: list[object], batch: int) -> bytes:
    """The image by way of a stack, and a script with the same batches."""
    assert patchcli("extract", "a.png", *extract, "-o", "a.npz", "--overwrite").returncode == 0
    script = (
        f"{CALLER}\ns = dict(np.load('a.npz'))\np = s['patches']\n"
        f"s['patches'] = np.concatenate([f.smooth(p[i:i + {batch}]) for i in range(0, len(p), {batch})])\nnp.savez('b.npz', **s)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True, capture_output=True)
    done = patchcli("merge", "b.npz", *merge, "-o", "merged.tif", "--overwrite")
    assert done.returncode == 0, done.stderr
    return (folder / "merged.tif").read_bytes()


PLACES: list[tuple[list[object], list[object]]] = [
    (["-s", 9, "--stride", 2], ["--dtype", "float64"]),
    (["-s", "9x7", "--stride", 1, "--edge", "even"], ["--dtype", "float32", "--window", "hann"]),
    (["-s", 16, "--overlap", "50%", "--margin", 3, "--pad-mode", "wrap"], ["--halo", 3]),
    (["-s", 11, "--stride", 3, "--max-patches", 300], ["--fill", 7, "--dtype", "float32"]),
    (["-s", 8, "--stride", 3, "--min-std", 70], ["--fill", 0, "--window", "gaussian", "--dtype", "float32"]),
    (["-s", "20x20", "--stride", "6x14", "--edge", "drop", "--max-patches", "100%"], ["--fill", 7, "--dtype", "float64"]),
    (["-s", 10, "--stride", 4, "--edge", "drop"], ["--trim", "--reduce", "median"]),
    (["-s", 6, "--stride", 6, "--edge", "pad"], ["--reduce", "max"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("places", "merging"), PLACES)
@pytest.mark.parametrize("workers", [(), ("-j", 2)])
def test_the_same_bytes_as_by_way_of_a_stack(
    patchcli: Run, folder: Path, places: list[object], merging: list[object], workers: tuple[object, ...]
) -> None:
    expected = by_stack(patchcli, folder, places, merging, 25)
    done = patchcli("map", "a.png", *places, *merging, *SMOOTH, "--batch", 25, "-o", "mapped.tif", *workers)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (folder / "mapped.tif").read_bytes() == expected


def test_denoised_as_by_way_of_a_stack(patchcli: Run, folder: Path) -> None:
    call = ["-s", 8, "--stride", 1, "--dtype", "float32"]
    for jobs in (1, 2):
        options = ["--func", "patchcli.functions:dct_denoise", "--arg", "sigma=25", "-j", jobs, "-o", f"{jobs}.tif"]
        assert patchcli("map", "a.png", *call, *options).returncode == 0
    assert patchcli("extract", "a.png", *call[:4], "-o", "a.npz").returncode == 0
    script = "import numpy as np\nfrom patchcli.functions import dct_denoise\ns = dict(np.load('a.npz'))\n"
    script += "s['patches'] = dct_denoise(s['patches'], sigma=25)\nnp.savez('b.npz', **s)"
    subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)
    assert patchcli("merge", "b.npz", *call[4:], "-o", "3.tif").returncode == 0
    assert (folder / "1.tif").read_bytes() == (folder / "2.tif").read_bytes() == (folder / "3.tif").read_bytes()


def test_many_workers_make_the_same(patchcli: Run, folder: Path) -> None:
    options = ["a.png", "-s", 9, "--stride", 2, "--dtype", "float64", *SMOOTH]
    for jobs in (1, 5):
        assert patchcli("map", *options, "-o", f"{jobs}.tif", "-j", jobs).returncode == 0
    assert (folder / "1.tif").read_bytes() == (folder / "5.tif").read_bytes()


def test_a_cluster_makes_the_same(patchcli: Run, folder: Path, cluster: Loopback) -> None:
    places, merging = PLACES[1]
    expected = by_stack(patchcli, folder, places, merging, 25)
    call = ["map", "a.png", *places, *merging, *SMOOTH, "--batch", 25, "-o", "mapped.tif", "--executor", cluster.address]
    done = patchcli(*call)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (folder / "mapped.tif").read_bytes() == expected


@pytest.mark.slow
@pytest.mark.parametrize("executor", [False, True])
def test_a_killed_worker_costs_time_alone(folder: Path, cluster: Loopback, *, executor: bool) -> None:
    write_image(folder / "a.png", gray(900, 90))
    options = ["a.png", "-s", "9", "--stride", "1", "--func", "f.py:slow", "--batch", "1000"]
    workers = ["--executor", cluster.address] if executor else ["-j", "2"]
    running = subprocess.Popen(
        [sys.executable, "-m", "patchcli", "map", *options, "-o", "b.tif", *workers], cwd=folder, stderr=subprocess.PIPE
    )
    time.sleep(2.5)
    assert running.poll() is None
    os.kill(cluster.processes[1].pid if executor else children(running.pid)[0], signal.SIGKILL)
    _, said = running.communicate(timeout=120)
    assert (running.returncode, said) == (0, b"")
    np.testing.assert_array_equal(read_image(folder / "b.tif"), read_image(folder / "a.png"))


def test_sizes_channels_origins(patchcli: Run, folder: Path) -> None:
    image = read_image(folder / "a.png")
    for workers in ((), ("-j", 2)):
        done = patchcli("map", "a.png", "-s", 8, "--stride", 3, "--func", "f.py:double", "-o", "b.png", "--overwrite", *workers)
        assert (done.returncode, done.stdout) == (0, b"")  # what a function prints is not a result
        assert b"called" in done.stderr
        np.testing.assert_array_equal(read_image(folder / "b.png"), image.repeat(2, 0).repeat(2, 1))
        call = ["map", "a.png", "-s", 12, "--margin", 2, "--func", "f.py:inner", "--stride", 8, "-o", "b.png", "--overwrite"]
        refused(patchcli(*call, *workers, "-q"), "or --halo 2 if they lost 2 pixels on each side", code=1)
        assert patchcli(*call, *workers, "--halo", 2).returncode == 0
        np.testing.assert_array_equal(read_image(folder / "b.png"), image)
        done = patchcli("map", "a.png", "-s", 8, "--func", "f.py:first_channels", "-o", "b.png", "--overwrite", *workers)
        assert (done.returncode, done.stderr) == (0, b"")
        np.testing.assert_array_equal(read_image(folder / "b.png"), np.stack([image] * 3, axis=-1))
        done = patchcli(
            "map", "a.png", "-s", 10, "--func", "f.py:where", "--dtype", "int32", "-o", "b.tif", "--overwrite", *workers
        )
        assert done.returncode == 0
        rows, columns = np.mgrid[:110, :90] // 10 * 10
        np.testing.assert_array_equal(read_image(folder / "b.tif"), rows + columns)


def test_cover_pipes_and_metadata(patchcli: Run, folder: Path) -> None:
    call = ["map", "a.png", "-s", 8, "--stride", 4, "--func", "f.py:Model.apply", "--cover", "c.npy", "-o", "b.png"]
    assert patchcli(*call, "-j", 2).returncode == 0
    assert patchcli("extract", "a.png", "-s", 8, "--stride", 4, "-o", "a.npz").returncode == 0
    assert patchcli("merge", "a.npz", "--cover", "d.npy", "-o", "d.png").returncode == 0
    assert (folder / "c.npy").read_bytes() == (folder / "d.npy").read_bytes()
    assert (folder / "b.png").read_bytes() == (folder / "d.png").read_bytes()
    for workers in ((), ("-j", 2)):
        shown = [*call[:-3], "c.png", "-o", "b.png", "--window", "hann", "--overwrite", *workers]
        assert patchcli(*shown).returncode == 0
        assert patchcli("merge", "a.npz", "--window", "hann", "--cover", "d.png", "-o", "e.png", "--overwrite").returncode == 0
        np.testing.assert_array_equal(read_image(folder / "c.png"), read_image(folder / "d.png"))
        piped = patchcli(
            "map", "-", "-s", 8, "--func", "f.py:Model.apply", "-o", "-", *workers, stdin=(folder / "a.png").read_bytes()
        )
        assert piped.returncode == 0
        (folder / "p.png").write_bytes(piped.stdout)
        np.testing.assert_array_equal(read_image(folder / "p.png"), read_image(folder / "a.png"))


@pytest.mark.parametrize("workers", [(), ("-j", 2)])
def test_what_the_function_raises_ends_its_image(patchcli: Run, folder: Path, workers: tuple[object, ...]) -> None:
    call = ["map", "a.png", "-s", 8, "--stride", 1, "--batch", 100, "-o", "b.tif", *workers]
    before = tree(folder)
    done = patchcli(*call, "--func", "f.py:failing")
    assert done.returncode == 1
    *_, last = done.stderr.decode().splitlines()
    assert last.startswith("patchcli: a.png: --func f.py:failing: raised ValueError: a dark (f.py, line ")
    assert "with origins from x=" in last
    done = patchcli(*call, "--func", "f.py:failing", "--debug")
    assert b"in failing\n" in done.stderr
    assert b'raise ValueError("a dark\\nday")' in done.stderr
    done = patchcli(*call, "--func", "f.py:ending")
    assert (done.returncode, done.stderr.splitlines()[-1][:60]) == (
        1,
        b"patchcli: a.png: --func f.py:ending: raised SystemExit: 3 (f",
    )
    assert {name: data for name, data in tree(folder).items() if "__pycache__" not in name} == before


def test_what_else_a_function_does_leaves_the_output_alone(patchcli: Run, folder: Path) -> None:
    image = read_image(folder / "a.png")
    for workers in ((), ("-j", 2)):
        done = patchcli("map", "a.png", "-s", 40, "--func", "f.py:wandering", "-o", "w.png", "--overwrite", *workers)
        assert (done.returncode, done.stdout) == (0, b"")
        assert b"written\nechoed\n" in done.stderr
        np.testing.assert_array_equal(read_image(folder / "w.png"), image)
        done = patchcli("map", "a.png", "-s", 40, "--func", "f.py:wandering", "-o", "-", *workers)
        (folder / "p.png").write_bytes(done.stdout)
        np.testing.assert_array_equal(read_image(folder / "p.png"), image)
        done = patchcli("map", "a.png", "-s", 40, "--func", "f.py:interrupting", "-o", "i.png", *workers)
        assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
        assert b"raised KeyboardInterrupt (f.py, line " in done.stderr


def test_one_channel_of_truths(patchcli: Run, folder: Path) -> None:
    for suffix in ("png", "tif", "npy"):
        call = ["map", "a.png", "-s", 10, "--func", "f.py:scores", "--dtype", "bool", "-o", f"t.{suffix}"]
        assert patchcli(*call).returncode == 0
        made = np.load(folder / "t.npy") if suffix == "npy" else read_image(folder / f"t.{suffix}")
        np.testing.assert_array_equal(made.reshape(110, 90), read_image(folder / "a.png") > 100)


def test_functions_that_cannot_be_had(patchcli: Run, folder: Path) -> None:
    (folder / "broken.py").write_text("import nothing_of_that_name\n")
    (folder / "own.py").write_text("def same(patches):\n    return patches\n")
    call = ["map", "a.png", "-s", 8, "-o", "b.png", "--func"]
    for name, said in {
        "f.py": "--func is 'f.py'; write package.module:function or file.py:function",
        ":f": "--func is ':f'; write",
        "a b:f": "--func is 'a b:f'; write",
        "none.py:f": "--func none.py:f: there is no file none.py",
        "own:same": "raised ModuleNotFoundError: No module named 'own'; for the file in this folder write own.py:NAME",
        "broken.py:f": "cannot be imported: it raised ModuleNotFoundError: No module named 'nothing_of_that_name'",
        "own.py:other": "--func own.py:other: no function of that name; it has same",
        "f.py:NUMBER": "NUMBER is int, not a function",
    }.items():
        done = patchcli(*call, name)
        assert done.returncode == 2, name
        assert said in done.stderr.decode(), name
    refused(patchcli(*call, "own:same", "-j", 2), "--func own:same: cannot be imported")
    refused(patchcli(*call, "patchcli.functions:none"), "no function of that name; it has dct_denoise, gaussian_filter, identity")
    assert patchcli(*call, "own:same", env={"PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{folder}"}).returncode == 0


@pytest.mark.usefixtures("folder")
def test_keywords_are_of_the_types_that_the_function_says(patchcli: Run) -> None:
    call = ["map", "a.png", "-s", 40, "-o", "b.png", "--overwrite", "--func", "f.py:typed", "--arg", "name=A=b"]
    done = patchcli(*call, "--arg", "number=7", "--arg", "share=1e-1", "--arg", "loud=yes", "--arg", "mode=b")
    assert done.stderr == b"[7, 'A=b', 0.1, 'b', True]\n"
    assert patchcli(*call, "--arg", "number=7", "--arg", "share=none").stderr == b"[7, 'A=b', None, 'a', False]\n"
    for arguments, said in {
        (): "--func f.py:typed: needs number; add --arg number=VALUE",
        ("number=seven",): "--arg number is 'seven'; f.py:typed takes int",
        ("number=7", "share=x"): "--arg share is 'x'; f.py:typed takes float or none",
        ("number=7", "mode=c"): "--arg mode is 'c'; f.py:typed takes a or b",
        ("number=7", "loud=maybe"): "--arg loud is 'maybe'; f.py:typed takes bool",
        ("number=7", "size=3"): "--arg size: f.py:typed has no keyword of that name; it has number, name, share, mode, loud",
        ("number",): "'number' is not a name and its value; write NAME=VALUE",
    }.items():
        done = patchcli(*call, *(word for one in arguments for word in ("--arg", one)))
        assert (done.returncode, said in done.stderr.decode()) == (2, True), done.stderr
    done = patchcli("map", "a.png", "-s", 40, "-o", "c.png", "--func", "f.py:strange", "--arg", "table=1")
    assert b"--arg table: f.py:strange takes list" in done.stderr
    assert b"which no option can give; allowed are bool, int, float, str, Path" in done.stderr


def test_options_that_mean_nothing_together(patchcli: Run, folder: Path) -> None:
    call = ["map", "a.png", "-s", 8, "-o", "b.png"]
    refused(patchcli(*call), "give a function: --func NAME, or --exec COMMAND")
    refused(patchcli(*call, *SMOOTH, "--exec", "cat"), "use only one of --func and --exec")
    refused(patchcli(*call, "--exec", "cat", "--arg", "a=1"), "--arg is for --func; write arguments of a command into --exec")
    refused(patchcli(*call, *SMOOTH, "--arg", "gain=1", "--arg", "gain=2"), "--arg gain was given twice; give it once")
    refused(patchcli(*call, "--exec", "cat 'a"), "has a quote or a backslash without an end")
    refused(patchcli(*call, "--exec", " "), "the command is empty; give a program and its arguments")
    refused(patchcli(*call, "--exec", "no_such_program"), "names no program that can be run; is it installed and executable?")
    refused(patchcli(*call, *SMOOTH, "--edge", "clip"), "--edge clip is for tile files; give --edge pad")
    refused(patchcli("map", "a.png", "-o", "b.png", *SMOOTH), "Missing option '-s' / '--patch-size'")
    refused(patchcli(*call, *SMOOTH, "--window", "hann", "--reduce", "max"), "--window is for --reduce mean, not for max")
    refused(patchcli(*call, *SMOOTH, "--max-patches", 3, "-q"), "are covered by no patch; give them a value with --fill", code=1)
    assert not (folder / "b.png").exists()


def test_many_images_and_resume(patchcli: Run, folder: Path) -> None:
    (folder / "in").mkdir()
    for number in range(6):
        write_image(folder / "in" / f"{number}.png", gray(40, 30 + number, seed=number))
    (folder / "in" / "bad.png").write_bytes(b"no image")
    call = ["map", "in", "-s", 8, "--stride", 2, *SMOOTH, "-d", "out", "--resume", "--report", "-", "--overwrite"]
    made = []
    for workers in ((), ("-j", 3)):
        done = patchcli(*call, *workers)
        assert done.returncode == 1
        statuses = [json.loads(line).get("status", "") for line in done.stdout.splitlines()]
        assert statuses == (["done"] * 6 + ["failed", ""] if not workers else ["skipped"] * 6 + ["failed", ""])
        made.append(tree(folder / "out"))
    assert made[0] == made[1]
    text = (folder / "f.py").read_text()
    (folder / "f.py").write_text(text + "# another\n")
    done = patchcli(*call, "-j", 2)
    assert [json.loads(line).get("status", "") for line in done.stdout.splitlines()] == ["done"] * 6 + ["failed", ""]
    assert tree(folder / "out") != made[0]  # the record says of which file of functions it was made
    refused(patchcli(*[word for word in call if word != "--overwrite"], "--arg", "gain=2"), "was made with --arg at its default")
    assert patchcli(*call, "--batch", 7, "-j", 2).returncode == 1


def test_a_dry_run_calls_nothing(patchcli: Run, folder: Path) -> None:
    done = patchcli("map", "a.png", "-s", 8, "--stride", 2, "--batch", 100, "--func", "f.py:ending", "-o", "b.png", "-n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(
        b"a.png -> b.png: image of width=90 height=110 from 2184 patches of width=8 height=8 in batches of 100"
    )
    assert not (folder / "b.png").exists()


@pytest.mark.usefixtures("folder")
def test_a_bar_counts_patches(patchcli: Run) -> None:
    done = patchcli("map", "a.png", "-s", 8, "--stride", 1, *SMOOTH, "-o", "b.png", "--progress", "-v")
    assert b"patch/s" in done.stderr
    assert b"image of width=90 height=110 from 8549 patches" in done.stderr
    done = patchcli("map", "a.png", "-s", 8, "--stride", 1, *SMOOTH, "--arg", "gain=9", "-o", "c.png", "-v")
    assert re.search(rb"image of width=90 height=110 from 8549 patches, \d+ values saturated to fit uint8 \(", done.stderr)


EXEC = """
import sys, numpy as np
while True:
    start = sys.stdin.buffer.peek(1)
    if not start:
        break
    version = np.lib.format.read_magic(sys.stdin.buffer)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(sys.stdin.buffer)
    size = int(np.prod(shape)) * dtype.itemsize
    patches = np.frombuffer(sys.stdin.buffer.read(size), dtype).reshape(shape)
    sys.path[:0] = ["."]
    import contextlib, f
    np.lib.format.write_array(sys.stdout.buffer, f.smooth(patches), (1, 0))
    sys.stdout.buffer.flush()
"""


@pytest.mark.parametrize("workers", [(), ("-j", 2)])
def test_a_command_is_a_function_too(patchcli: Run, folder: Path, workers: tuple[object, ...]) -> None:
    (folder / "e.py").write_text(EXEC)
    options = ["a.png", "-s", 9, "--stride", 2, "--dtype", "float32", "--batch", 500]
    done = patchcli("map", *options, "--exec", f"'{sys.executable}' e.py", "-o", "b.tif", *workers)
    assert (done.returncode, done.stderr) == (0, b"")
    assert patchcli("map", *options, *SMOOTH, "-o", "c.tif").returncode == 0
    np.testing.assert_array_equal(read_image(folder / "b.tif"), read_image(folder / "c.tif"))
    before = tree(folder)
    for command, said in {
        "cat": "",
        "true": "the command 'true' ended with exit status 0 after 0 batches",
        "sh -c 'cat; exit 3'": "ended with exit status 3 after its last record",
        "sh -c 'cat; echo more'": "sent 5 bytes behind its last record",
    }.items():
        done = patchcli("map", "a.png", "-s", 9, "--stride", 2, "--exec", command, "-o", "d.tif", "--overwrite", *workers)
        assert done.returncode == (0 if command == "cat" else 1), (command, done.stderr)
        assert done.stderr.count(b"\n") == (0 if command == "cat" else 1)
        assert said in done.stderr.decode()
        (folder / "d.tif").unlink(missing_ok=True)
    assert {name: data for name, data in tree(folder).items() if "__pycache__" not in name} == before
