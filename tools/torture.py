"""Thousands of damaged images and stacks through the program: each is refused in one line, or gives the right pixels.

Beside that no input may end a run, take long or much memory, leave a temporary file, or say anything on standard error but
its line. `tools.damage` makes the files, always the same, `tools.truth` says what the right pixels are. Exit code 1 if
anything is found; the files that show it are kept in ``torture/``.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from tools.breaks import breaks
from tools.damage import PATCH, Mutant, base_of, bases, mutant
from tools.truth import by_netpbm, by_pillow, by_tifffile, lacks

ROOT = Path(__file__).resolve().parent.parent
COUNTS = {"undamaged": 40, "tags": 15_000, "bytes": 5_000, "cuts": 1_600}
BATCH = 250
ADDRESSES, MOST_MEMORY = 2 << 30, 700 << 20  # bytes that a process may ask for, and may use
SECONDS, USUAL = 20, 0.1  # that one input may take, and that each of many may take of a whole run
LOOK = 0.02  # seconds from one look at a process to the next
LONGEST = 300  # characters of a line, beside the name
KEPT = 3  # files of each kind of finding
SUMMARY = re.compile(r"patchcli: \d+ of \d+ inputs failed: ")
# what only programmers read: names of objects and of types; and, in words, what Python and numpy say of arguments and arrays
NAMES = re.compile(r"Traceback|<\w+[ .]|0x[0-9a-f]{6}|NoneType|tifffile|imagecodecs|bytes-like|'\w+' object|'\w+' and '\w+'|__")
WORDS = re.compile(r"reshape|codec can't|could not convert|cannot convert|invalid literal|buffer|unhashable|_|decoder object")
HARMLESS = re.compile(r"incorrect \w+ count|Tag (?!25[5-9] |26[26] |27[37-9] |284 |317 |32[0-5] |33[89] |347 |53[0-2] )\d+ ")
Pixels = NDArray[Any]


class Ran(NamedTuple):
    """A process that ended: its exit code, lines of standard error, records of the report, most memory, seconds."""

    code: int
    lines: list[str]
    records: list[dict[str, Any]]
    memory: int
    seconds: float


class Finding(NamedTuple):
    """A promise that was broken: of which kind, in words, and by what."""

    kind: str
    message: str
    mutant: Mutant


class Result(NamedTuple):
    """What became of some mutants."""

    kind: str
    refused: int
    right: int
    findings: list[Finding]
    notes: list[Finding]
    mean: float
    memory: int


def run(place: Path, mutants: list[Mutant]) -> Ran:
    """Run the program on a folder of mutants."""
    for name in ("in", "out", "tmp"):
        (place / name).mkdir()
    for one in mutants:
        (place / "in" / one.name).write_bytes(one.data)
    stacks = mutants[0].name.endswith(".npz")
    words = ["merge", "in"] if stacks else ["extract", "in", "-s", str(PATCH), "--edge", "pad"]
    command = [sys.executable, "-m", "patchcli", *words, "-d", "out", "--report", "report.jsonl"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PATCHCLI_")}
    variables = plain | {"PYTHONPATH": str(ROOT), "TMPDIR": str(place / "tmp")}
    begun = time.monotonic()
    with (place / "said").open("wb") as said:
        process = subprocess.Popen(command, cwd=place, env=variables, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        resource.prlimit(process.pid, resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
        memory = watched(process, SECONDS + USUAL * len(mutants))
    text = (place / "said").read_bytes().decode(errors="surrogateescape").removesuffix("\n")
    report = place / "report.jsonl"
    records = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
    return Ran(process.returncode, text.split("\n") if text else [], records, memory, time.monotonic() - begun)


def watched(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Wait for the end of a process, and bring it about after some seconds; the most memory that it was seen to use.

    What the system counts for a process that ended has the memory of its parent in it.
    """
    memory, end = 0, time.monotonic() + seconds
    while process.poll() is None:
        with contextlib.suppress(OSError):
            if found := re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text()):
                memory = max(memory, int(found[1]) << 10)
        if time.monotonic() > end:
            process.kill()
        time.sleep(LOOK)
    return memory


def wrong_with(ran: Ran, place: Path, count: int) -> tuple[str, str] | None:  # noqa: PLR0911  one for each promise
    """What is wrong with a run as a whole: its kind, and in words."""
    records = [record for record in ran.records if "input" in record]
    failed = [record for record in records if record["status"] == "failed"]
    slow = [record["seconds"] for record in records if record["seconds"] > SECONDS]
    said = ran.lines[:-1] if ran.lines and SUMMARY.match(ran.lines[-1]) else ran.lines
    odd = [line for line in said if not line.isprintable() or not line.startswith("patchcli: ")]
    last = ran.lines[-1] if ran.lines else "nothing was said"
    if ran.code == -9 or slow:
        return "takes too long", f"{ran.seconds:.0f} s"
    if ran.code not in (0, 1) or "Traceback" in "".join(ran.lines) or len(records) != count:
        return f"ends the run: {re.sub(r'[0-9]+', 'N', last)[:90]}", f"exit code {ran.code}: {last}"
    if ran.memory > MOST_MEMORY:
        return "takes much memory", f"{ran.memory >> 20} MiB"
    if odd:
        return f"says more than its line: {re.sub(r'[0-9]+', 'N', odd[0])[:60]}", odd[0]
    for record in records:  # one line for each that failed, at most one, a hint, for each that did not
        start = f"patchcli: {record['input']}: "
        own = [line for line in said if line.startswith(start)]
        if len(own) > 1 or len(own) < (record in failed) or len("".join(own)) > len(start) + LONGEST:
            return "says not one short line", repr(own)
        said = [line for line in said if line not in own]
    if said or ran.code != bool(failed):
        return "says or ends as if others failed", f"exit code {ran.code}: {last}"
    made = {record["output"] for record in records if record["status"] == "done"}
    there = {str(path.relative_to(place)) for name in ("out", "tmp") for path in (place / name).rglob("*") if path.is_file()}
    return ("leaves files", str(sorted(there ^ made))) if there != made else None


def examine(kind: str, mutants: list[Mutant]) -> Result:
    """Run the program on mutants; where that goes wrong, on fewer of them, until it is known which it was."""
    with tempfile.TemporaryDirectory(prefix="torture-") as folder:
        place = Path(folder)
        ran = run(place, mutants)
        mean = ran.seconds / len(mutants)
        wrong = wrong_with(ran, place, len(mutants))
        if wrong is None:
            return judged(kind, mutants, ran, place)
    if len(mutants) == 1:
        return Result(kind, 0, 0, [Finding(*wrong, mutants[0])], [], mean, ran.memory)
    known = len([record for record in ran.records if "input" in record])
    # where it died, one of two inputs was under way: the outputs of one get their names while the next is read
    cuts = [0, known, known + 1, known + 2, len(mutants)] if known < len(mutants) else [0, len(mutants) // 2, len(mutants)]
    parts = [part for first, last in itertools.pairwise(cuts) if (part := mutants[first:last])]
    found = [examine(kind, part) for part in parts]
    findings = [finding for result in found for finding in result.findings]
    if not findings:
        findings = [Finding(f"only in company {wrong[0]}", wrong[1], mutants[0])]
    return Result(
        kind,
        sum(result.refused for result in found),
        sum(result.right for result in found),
        findings,
        [note for result in found for note in result.notes],
        mean,
        max(ran.memory, *(result.memory for result in found)),
    )


def judged(kind: str, mutants: list[Mutant], ran: Ran, place: Path) -> Result:
    """What became of each mutant of a run that went well."""
    findings: list[Finding] = []
    notes: list[Finding] = []
    refused = 0
    for one, record in zip(mutants, ran.records, strict=False):
        if record["status"] == "failed":
            sentence = record["errors"][0]
            before = len(findings)
            if "needs more memory than there is" in sentence:
                findings.append(Finding("asks for gigabytes", sentence, one))
            elif kind == "undamaged":
                findings.append(Finding("refuses a good file", sentence, one))
            elif NAMES.search(sentence):
                findings.append(Finding("its line speaks of Python", sentence, one))
            elif WORDS.search(sentence):
                notes.append(Finding("its line has the words of a library", sentence, one))
            refused += len(findings) == before
            continue
        fault, note = verdict(kind, one, got_from(place / record["output"]))
        if fault:
            findings.append(Finding(*fault, one))
        if note:
            notes.append(Finding(*note, one))
    return Result(kind, refused, len(mutants) - refused - len(findings), findings, notes, ran.seconds / len(mutants), ran.memory)


def got_from(path: Path) -> Pixels:
    """The image in an output: a PNG, or a stack of patches side by side."""
    if path.suffix == ".png":
        return np.asarray(imagecodecs.png_decode(path.read_bytes()))
    with np.load(path) as stack:
        patches, shape = stack["patches"], json.loads(str(stack["meta"]))["image"]["shape"]
    rows, columns = -(-shape[0] // PATCH), -(-shape[1] // PATCH)
    lines = patches.reshape(rows, columns, *patches.shape[1:]).swapaxes(1, 2)
    image: Pixels = lines.reshape(rows * PATCH, columns * PATCH, *patches.shape[3:])[: shape[0], : shape[1]]
    return image


def same(got: Pixels, wanted: Pixels) -> bool:
    """Whether two images are equal, NaN and all."""
    wanted = wanted[..., 0] if wanted.ndim == 3 and wanted.shape[2] == 1 else wanted
    return got.dtype == wanted.dtype and got.shape == wanted.shape and got.tobytes() == wanted.tobytes()


Said = tuple[str, str]


def original(name: str) -> Pixels:
    """The pixels of an undamaged file."""
    base = bases()[name]
    return decoded(name, base.data)[0] if base.pixels is None else base.pixels


def decoded(name: str, data: bytes) -> tuple[Pixels, list[str]]:
    """What another decoder makes of a file, and what it says of damage."""
    if name.endswith(".tif"):
        return by_tifffile(data)
    return (by_netpbm if name.endswith(("pgm", "ppm")) else by_pillow)(data), []


def verdict(kind: str, one: Mutant, got: Pixels) -> tuple[Said | None, Said | None]:
    """What is wrong with pixels that the program took from a mutant, and what is worth a look."""
    suffix, as_before = Path(one.base).suffix, same(got, original(one.base))
    checked = suffix in (".png", ".npz")  # every byte that counts has a checksum
    whole = one.base.startswith("text.")  # cut within its last number it is a whole file, of another number
    if kind == "undamaged" or checked or (kind == "cuts" and not whole):
        fault = f"{kind} of {suffix}: other pixels", describe(got)
        return None if as_before else fault, None
    if one.base.endswith(".tif"):
        return verdict_of_tiff(one, got, as_before=as_before)
    try:
        wanted, _ = decoded(one.base, one.data)
    except Exception as error:  # noqa: BLE001  whatever a library raises
        return (f"{suffix}: accepted, and the other decoder raises {type(error).__name__}", str(error)), None
    fault = f"{suffix}: other pixels", f"{describe(got)} for {describe(wanted)}"
    return None if same(got, wanted) else fault, None


def verdict_of_tiff(one: Mutant, got: Pixels, *, as_before: bool) -> tuple[Said | None, Said | None]:
    """The same of a TIFF. Damage that tifffile tells of does not count where the pixels are those of the undamaged file.

    Nor do byte counts that are missing, sizes of strips that are none, or JPEG data that lack their last bytes.
    """
    try:
        if fault := lacks(one.data):
            told = re.sub(r"[0-9]+", "N", fault)
            harmless = as_before and any(word in fault for word in ("JPEG", "byte counts", "size"))
            return (None, (told, fault)) if harmless else ((f"accepted, and {told}", fault), None)
        wanted, said = by_tifffile(one.data)
    except Exception as error:  # noqa: BLE001  whatever a library raises
        told = re.sub(r"[0-9]+", "N", str(error).partition(":")[0])[:80]
        return (
            (None, None) if as_before else ((f"accepted, and tifffile raises {type(error).__name__}: {told}", str(error)), None)
        )
    if not same(got, wanted):
        return (f"{one.base}: other pixels", f"{describe(got)} for {describe(wanted)}"), None
    # more strips than needed, and tags that no pixel depends on, or an orientation that is none, do no harm
    damage = [line for line in said if not HARMLESS.search(line)]
    if damage and not as_before:
        kind = re.sub(r"(Tag )?@?\b[0-9]+", lambda found: found[0] if found[1] else "N", damage[0].split("TiffFileError")[-1])
        return (f"accepted, and tifffile says {kind[:80]}", damage[0]), None
    with contextlib.suppress(Exception):
        other = by_pillow(one.data)
        if other.shape == got.shape and other.dtype == got.dtype and not same(got, other):
            return None, (f"{one.base}: Pillow has other pixels", describe(got))
    return None, None


def describe(image: Pixels) -> str:
    """Shape and dtype."""
    return f"{image.dtype} {'x'.join(map(str, image.shape))}"


def batch(kind: str, numbers: list[int]) -> Result:
    """Make some mutants and examine them; in a process of its own."""
    return examine(kind, sorted((mutant(kind, number) for number in numbers), key=lambda one: one.name))


def mute() -> None:
    """Send what libraries print in this process nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def batches(counts: dict[str, int]) -> Iterable[tuple[str, list[int]]]:
    """The numbers of mutants that are run together, of each kind; stacks by themselves."""
    for kind, count in counts.items():
        for stacks in (False, True):
            numbers = [number for number in range(count) if base_of(kind, number).endswith(".npz") == stacks]
            for first in range(0, len(numbers), BATCH):
                yield kind, numbers[first : first + BATCH]


def torture(counts: dict[str, int], jobs: int, keep: Path) -> list[Finding]:
    """Run all, print a table of it and each kind of finding once; the findings. Their files are put into ``keep``."""
    work = list(batches(counts))
    with ProcessPoolExecutor(jobs, get_context("spawn"), mute) as pool:
        results = list(pool.map(batch, *zip(*work, strict=True)))
    print("| kind | mutants | refused in one line | right pixels | findings | slowest batch, mean | peak memory |")
    print("|---|---|---|---|---|---|---|")
    for kind, count in counts.items():
        some = [result for result in results if result.kind == kind]
        found, worst = sum(len(result.findings) for result in some), max(result.mean for result in some)
        refused, right = sum(result.refused for result in some), sum(result.right for result in some)
        memory = max(result.memory for result in some) >> 20
        print(f"| {kind} | {count} | {refused} | {right} | {found} | {1000 * worst:.0f} ms | {memory} MiB |")
    findings = [finding for result in results for finding in result.findings]
    tell("FOUND", findings, keep)
    tell("worth a look", [note for result in results for note in result.notes], keep / "notes")
    return findings


def tell(what: str, findings: list[Finding], keep: Path) -> None:
    """Print each kind of finding with an example, and keep some files of it."""
    for kind, count in Counter(finding.kind for finding in findings).most_common():
        some = [finding for finding in findings if finding.kind == kind][:KEPT]
        keep.mkdir(parents=True, exist_ok=True)
        for finding in some:
            (keep / finding.mutant.name).write_bytes(finding.mutant.data)
        one, message = some[0].mutant, some[0].message[:LONGEST]
        print(f"\n{what}, {count} times: {kind}\n  {message}\n  {keep / one.name} ({one.what})")


def main() -> int:
    """Run everything; the exit code."""
    damaged = torture(COUNTS, os.cpu_count() or 1, ROOT / "torture")
    return 1 if [*damaged, *breaks(every=False)] else 0


if __name__ == "__main__":
    sys.exit(main())
