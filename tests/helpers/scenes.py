"""Small runs that are broken at one of their calls, and what is promised of each such run."""

from __future__ import annotations

import errno
import io
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np

from patchcli.stacks.tile_names import INDEX_SUFFIX
from patchcli.stacks.tile_set import BEGUN
from patchcli.storage.atomic import TEMPORARY
from tests.helpers import breaking
from tests.helpers.breaking import FAIL_ON, FAIL_ONCE, KILL_ALL, KILL_ONE, WRITING, Point, Ran
from tests.helpers.runs import gray, write_image

if TYPE_CHECKING:
    from collections.abc import Iterator

FIVE = "in/0.png in/1.png in/2.png in/3.png in/4.png"
MAPPED = "-s 8 --stride 4 --func patchcli.functions:identity"
# the run, and an earlier one that made other outputs of the same names
SCENES = {
    "extract": ("extract in/0.png -s 8 -o out/a.npz", "extract in/0.png -s 10 -o out/a.npz"),
    "merge": ("merge in/s.npz -o out/a.png --cover out/c.png", "merge in/s.npz -o out/a.png --cover out/c.png --reduce max"),
    "map": (f"map in/0.png {MAPPED} -o out/a.png --cover out/c.png", f"map in/0.png {MAPPED} -o out/a.png --reduce max"),
    "bands": (f"map in/0.png {MAPPED} -o out/a.png -j 2", f"map in/0.png {MAPPED} -o out/a.png --reduce max"),
    "crop": ("crop in/0.png --box 1 2 20 10 -o out/a.png", "crop in/0.png --box 1 2 10 10 -o out/a.png"),
    "preview": ("preview in/0.png -o out/a.png", "preview in/0.png --grid -s 8 -o out/a.png"),
    "batch": (f"extract {FIVE} -s 8 -d out --report out/r.jsonl", f"extract {FIVE} -s 10 -d out"),
    "shards": (
        "extract in/0.png -s 8 --shard-patches 3 -o out/a.npz",
        "extract in/0.png -s 8 --offset 1,1 --shard-patches 3 -o out/a.npz",
    ),
    "companion": ("extract in/0.png -s 8 --companion in/1.png -d out", "extract in/0.png -s 10 --companion in/1.png -d out"),
    "tiles": (
        "extract in/0.png -s 8 --edge clip --companion in/1.png -o out/{x}-{y}.png",
        "extract in/0.png -s 10 --edge clip --companion in/1.png -o out/{x}-{y}.png",
    ),
    "boxes": ("crop --boxes in/boxes.csv -d out", "crop --boxes in/boxes.csv -d out --resampling nearest"),
    "jobs": (f"extract {FIVE} -s 8 -d out --report out/r.jsonl -j 2", f"extract {FIVE} -s 10 -d out"),
}
BOXES = "boxes.csv"
REPORT = "r.jsonl"  # which is written as the run goes on
FULL = (errno.ENOSPC, errno.EIO)
DISK = ("create", "write", "fsync", "rename", "truncate")  # that fail for lack of a disk, and nothing else is tried then
Files = dict[str, bytes]


class Scene:
    """A run in a folder of its own, which can be done again and again.

    Args:
        folder: empty, for its inputs ``in`` and its outputs ``out``.
        name: one of `SCENES`.
        over: whether outputs of an earlier run are there, which are replaced.
    """

    def __init__(self, folder: Path, name: str, *, over: bool) -> None:
        self.name, self.folder, self._out = name, folder, folder / "out"
        new, old = SCENES[name]
        _write_inputs(folder / "in")
        resume = [] if name == "preview" else ["--resume"]
        self._call = [*new.split(), *resume, *["--overwrite"] * over]
        self._old = self._made_by([*old.split(), *resume]) if over else {}
        self._new = self._made_by([*new.split(), *resume])

    def _made_by(self, call: list[str]) -> Files:
        _emptied(self._out)
        ran = breaking.run(call, self.folder)
        assert (ran.code, ran.said) == (0, "")
        return _files(self._out)

    def seen(self, *, inputs: bool) -> dict[str, int]:
        """How often each kind of call is made on outputs, and inputs too, where nothing is broken."""
        return self._broken(None, inputs=inputs).seen

    def _broken(self, point: Point | None, *, inputs: bool) -> Ran:
        _emptied(self._out)
        for name, data in self._old.items():
            (self._out / name).parent.mkdir(parents=True, exist_ok=True)
            (self._out / name).write_bytes(data)
        return breaking.run(self._call, self.folder, self.folder if inputs else self._out, point)

    def killed(self, point: Point) -> list[str] | None:
        """Kill the run at a point; what is wrong then, or after it was done again. None: it never came there."""
        ran = self._broken(point, inputs=False)
        if not ran.reached:
            return None
        wrong = self._wrong_files()
        if point.manner == KILL_ALL:
            wrong += ["not killed"] * (ran.code != -9)
        else:
            wrong += self._wrong_words(ran)
        more = [] if self._in_tiles or "--overwrite" in self._call else ["--overwrite"]
        again = breaking.run([*self._call, *more], self.folder)
        files = _files(self._out)
        if again.code or again.said:
            wrong.append(f"fails when done again: {again.code} {again.said[-200:]}")
        if not self._is_new():
            wrong.append("not whole when done again")
        if files.keys() != _shown(files).keys() and "--resume" in self._call:  # which removes what a killed run left
            wrong.append("leftover when done again")
        return wrong

    def failed(self, point: Point) -> list[str] | None:
        """Let a call of the run fail; what is wrong then. None: it never came there."""
        ran = self._broken(point, inputs=True)
        if not ran.reached:
            return None
        wrong = self._wrong_files() + self._wrong_words(ran)
        files = _files(self._out)
        hidden = [name for name in files.keys() - _shown(files).keys() if not self._is_own(Path(name))]
        if hidden and point.call != "unlink":
            wrong.append("leftover")
        if ran.code == 1 and point.call in DISK and point.error in FULL:
            wrong.append("wrong code: goes on after the disk failed")
        return wrong

    def _wrong_files(self) -> list[str]:
        shown = _shown(_files(self._out))
        torn = [name for name, data in shown.items() if not self._may_be(name, data)]
        lost = self._lost_tiles(shown) if self._in_tiles else [name for name in self._old if name not in shown]
        hidden = [path.name for path in self._out.rglob(".*") if not TEMPORARY.fullmatch(path.name) and not self._is_own(path)]
        return [f"torn: {name}" for name in torn] + [f"lost: {name}" for name in lost] + [f"odd: {name}" for name in hidden]

    @property
    def _in_tiles(self) -> bool:
        return any(name.endswith(INDEX_SUFFIX) for name in self._new)

    def _is_own(self, path: Path) -> bool:
        """Whether a hidden file is the beginning of an index, which tells the next run what there is."""
        return self._in_tiles and path.name.endswith(INDEX_SUFFIX + BEGUN)

    def _lost_tiles(self, shown: Files) -> list[str]:
        """Tiles that an index claims and that are not there, or are those of another; a set without its index claims nothing."""
        lost = []
        for index in (name for name in shown if name.endswith(INDEX_SUFFIX)):
            version = self._new if _same(index, shown[index], self._new[index]) else self._old
            named = [json.loads(line)["file"] for line in shown[index].splitlines()[1:]]
            lost += [name for name in named if not _same(name, shown.get(name, b""), version[name])]
        return lost

    def _may_be(self, name: str, data: bytes) -> bool:
        return any(_same(name, data, version.get(name)) for version in (self._new, self._old))

    def _is_new(self) -> bool:
        shown = _shown(_files(self._out))
        return shown.keys() == self._new.keys() and all(_same(name, shown[name], self._new[name]) for name in shown)

    def _wrong_words(self, ran: Ran) -> list[str]:
        """What is wrong with the exit code of a run that was not killed, and with what it said."""
        if ran.code is None:
            return ["hang"]
        if ran.code == -9:  # not a worker was killed, but what started it
            return []
        wrong = []
        lines = ran.said.splitlines()
        refused = ran.code == 2 and ran.file.endswith(BOXES)  # a list that cannot be read is no call
        if ran.code not in (0, 1, 3) and not refused:
            wrong.append(f"wrong code: {ran.code}: {ran.said[-200:]}")
        if "Traceback" in ran.said or "Exception ignored" in ran.said or "fault of patchcli" in ran.said:
            wrong.append(f"traceback: {lines[-1]}")
        elif not all(line.startswith("patchcli: ") for line in lines) or len(lines) > (7 if self._many() else 1):
            wrong.append(f"odd words: {ran.said[-300:]}")
        if ran.code and not lines:
            wrong.append("says nothing")
        if ran.code == 0 and not self._is_new():
            wrong.append("false success")
        if ran.code == 0 and "--report" in self._call and not self._has_summary():
            wrong.append("false success: the report has no summary")
        return wrong

    def _many(self) -> bool:
        return FIVE in " ".join(self._call) or "--boxes" in self._call

    def _has_summary(self) -> bool:
        lines = (self._out / REPORT).read_text().splitlines()
        return len(lines) == len(FIVE.split()) + 1 and "summary" in json.loads(lines[-1])


def _write_inputs(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(5):
        write_image(folder / f"{number}.png", gray(20, 30, seed=number))
    boxes = "".join(f"in/{number}.png,1,2,20,10,c{number}.png\n" for number in range(3))
    (folder / BOXES).write_text(f"input,x,y,w,h,output\n{boxes}")
    ran = breaking.run(["extract", "in/0.png", "-s", "8", "--stride", "4", "--edge", "shift", "-o", "in/s.npz"], folder.parent)
    assert ran.code == 0


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def _files(folder: Path) -> Files:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != REPORT
    }


def _shown(files: Files) -> Files:
    return {name: data for name, data in files.items() if not Path(name).name.startswith(".")}


def _same(name: str, data: bytes, wanted: bytes | None) -> bool:
    """Whether two files hold the same; the record in them may lack the time of an input of which it could not be asked."""
    if wanted is None or data == wanted:
        return wanted is not None
    try:
        if name.endswith(INDEX_SUFFIX):
            return data.splitlines()[1:] == wanted.splitlines()[1:]
        if not name.endswith(".npz"):
            return bool(np.array_equal(imagecodecs.png_decode(data), imagecodecs.png_decode(wanted)))
        with np.load(io.BytesIO(data)) as one, np.load(io.BytesIO(wanted)) as other:
            return one.files == other.files and all(
                np.array_equal(one[part], other[part]) for part in one.files if part != "meta"
            )
    except Exception:  # noqa: BLE001  of a torn file anything
        return False


def kills(scene: Scene, *, every: bool) -> Iterator[Point]:
    """Where a scene is killed: before every call that changes an output, or before one of each kind."""
    for number, (call, count) in enumerate(scene.seen(inputs=False).items()):
        for place in _places(number, count, every=every) if call in WRITING else ():
            if every or scene.name != "jobs":
                yield Point(call, place, KILL_ALL)
            if scene.name == "jobs":  # most often a worker
                yield Point(call, place, KILL_ONE)


def failures(scene: Scene, *, every: bool) -> Iterator[Point]:
    """Where a call of a scene fails: every one, with each of several errors, or one of each kind with one error."""
    errors = (errno.ENOSPC, errno.EIO, errno.EMFILE, errno.EACCES)
    for number, (call, count) in enumerate(scene.seen(inputs=True).items()):
        for place in _places(number, count, every=every):
            for error in errors if every else errors[number % 2 : number % 2 + 1]:
                yield Point(call, place, FAIL_ONCE if every or call not in DISK else FAIL_ON, error)
            if every:
                yield Point(call, place, FAIL_ON, errors[number % 2])


def _places(number: int, count: int, *, every: bool) -> list[int]:
    """All of so many calls, or the last or the first of them, by the number of their kind."""
    return list(range(1, count + 1)) if every or count < 2 else [count if number % 2 else 1]
