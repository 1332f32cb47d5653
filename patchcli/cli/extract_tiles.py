"""``patchcli extract`` to tile files: what could lose a file is refused, before any work."""

from __future__ import annotations

import bisect
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from patchcli.batch.attempt import Command
from patchcli.batch.run import run_batch
from patchcli.batch.targets import OF_TILES, place_tasks
from patchcli.cli import options
from patchcli.errors import UsageError
from patchcli.jobs.extract_plan import recipes
from patchcli.jobs.extract_tiles import extract_tiles, plan_tiles, tile_pattern
from patchcli.stacks.tile_names import FIELD, pattern_of, split_template
from patchcli.stacks.tile_set import is_being_made, known_tiles
from patchcli.storage import atomic
from patchcli.storage.files import STREAM, identity
from patchcli.storage.paths import absolute, full, is_remote

if TYPE_CHECKING:
    from patchcli.batch.inputs import Found
    from patchcli.batch.options import BatchOptions
    from patchcli.batch.progress import Voice
    from patchcli.batch.targets import InputPage
    from patchcli.jobs.pages import PageRange
    from patchcli.jobs.settings import ExtractSettings
    from patchcli.jobs.task import ExtractTask

RUN = re.compile(r"[0-9]*\0[0-9\0]*")  # of digits, some of them of a field


def run_tiles(
    make: Callable[[InputPage], ExtractTask],
    found: Found,
    settings: ExtractSettings,
    *,
    batch: BatchOptions,
    pages: PageRange | None,
    voice: Voice,
) -> int:
    """Cut each input into tile files; the exit code."""
    template = str(batch.output)
    if is_remote(template):
        raise UsageError(f"{template}: is remote; tile files are written to a local folder, stacks to servers, too")
    options.check_formats([template], None, resume=False, creation=settings.creation)
    tasks = place_tasks(batch, found, make, rename=str, pages=pages, later=OF_TILES)
    _refuse_equal_names(tasks)
    _refuse_losses_of_tiles(tasks, settings, batch)
    if not batch.dry_run and not batch.resume:  # which does so itself
        atomic.remove_leftovers(index for task in tasks for index in task.targets() if not is_being_made(index))
    return run_batch(found, tasks, Command(extract_tiles, plan_tiles, recipes, settings), options=batch, voice=voice)


def _refuse_equal_names(tasks: Sequence[ExtractTask]) -> None:
    """Refuse templates of which two give one name: those that differ in nothing but digits, beside a field at that.

    Which digits are of a field, and which are not, cannot be told in a name: ``a{x}`` and ``a1{x}`` may both give ``a100``.
    """
    known: dict[str, list[tuple[str, str]]] = {}
    for task in tasks:
        for template in task.tiles:
            text = FIELD.sub(lambda found: found[0][0] if found[1] is None else "\0", absolute(template))
            digits = RUN.findall(text)[0].partition("\0")[0]
            known.setdefault(RUN.sub("\0", text), []).append((digits, template))
    for several in known.values():
        several.sort()
        for (digits, one), (more, other) in itertools.pairwise(several):
            if more.startswith(digits):
                raise UsageError(
                    f"{other}: two tiles may have one name, with those of {one}; give names of the inputs' own, as in "
                    "'{stem}-{x}-{y}.png', no digits beside the fields"
                )


class _Entry(NamedTuple):
    """What lies in a folder: its name, its inode, and what it is if it is no file."""

    name: str
    inode: int
    other: str


def _refuse_losses_of_tiles(tasks: Sequence[ExtractTask], settings: ExtractSettings, batch: BatchOptions) -> None:
    """Refuse tiles that are an input or the report, or that exist and may not be replaced; each folder is listed once."""
    lists = [] if batch.files_from is None else [batch.files_from]
    inputs = {identity(path) for path in (*lists, *(path for task in tasks for path in task.sources()))} - {None}
    inodes = {known[1] for known in inputs if known}
    listed = cache(_sorted_entries)
    for task in tasks:
        for number, (index, template) in enumerate(zip(task.targets(), task.tiles, strict=True)):
            folder, names = split_template(template)
            there = dict(_existing(full(folder) or os.curdir, names.split("/"), listed))
            report = _name_below(folder, batch.report)
            if not there and (report is None or not pattern_of(names).fullmatch(report)):
                continue
            ours = known_tiles(index) if batch.resume else frozenset()
            patterns = _patterns(tile_pattern(task, settings, number))
            if report is not None and patterns[-1].fullmatch(report):
                raise UsageError(f"{batch.report}: a tile will have this name; give the report another")
            for name, (_, inode, other) in there.items():
                path = os.path.join(folder, name)
                if not patterns[name.count("/")].fullmatch(name):
                    continue
                if other:
                    raise UsageError(f"{path}: is {other}; give the tiles other names, or move it")
                if inode in inodes and identity(path) in inputs:
                    raise UsageError(f"{path}: is an input too; give the tiles other names")
                if not batch.overwrite and name not in ours:
                    raise UsageError(f"{path}: already exists; use --overwrite to replace it")


def _name_below(folder: str, path: str | None) -> str | None:
    """The name of a file below a folder, relative to that; None where it is elsewhere."""
    if path is None or path == STREAM or is_remote(path):
        return None
    above, name = os.path.split(full(path))
    start = os.path.join(os.path.realpath(full(folder)), "")
    place = os.path.join(os.path.realpath(above), name)
    return place[len(start) :] if place.startswith(start) else None


def _patterns(pattern: re.Pattern[str]) -> list[re.Pattern[str]]:
    """What matches the folders of tiles, from the outermost on, and last the tiles."""
    parts = pattern.pattern.split("/")
    return [re.compile("/".join(parts[: depth + 1]), pattern.flags) for depth in range(len(parts))]


def _sorted_entries(folder: str) -> list[_Entry]:
    """What lies in a folder, sorted; nothing where there is none."""
    try:
        with os.scandir(folder) as entries:
            return sorted(_Entry(entry.name, *_inode_and_kind(entry)) for entry in entries)
    except OSError:
        return []


def _inode_and_kind(entry: os.DirEntry[str]) -> tuple[int, str]:
    if entry.is_dir(follow_symlinks=False):
        return entry.inode(), "a folder"
    if not entry.is_symlink():
        return entry.inode(), "" if entry.is_file() else "not a regular file"
    try:
        return entry.stat().st_ino, "a folder" if entry.is_dir() else ""
    except OSError:  # it leads nowhere
        return entry.inode(), ""


def _existing(
    folder: str, parts: list[str], listed: Callable[[str], list[_Entry]], above: str = ""
) -> Iterator[tuple[str, _Entry]]:
    """Names below a folder that a template gives for any numbers, and what stands in the place of their folders."""
    entries = listed(folder)
    start = _literal_start(parts[0])
    pattern = pattern_of(parts[0])
    for entry in entries[bisect.bisect_left(entries, (start,)) :]:
        name = entry.name
        if not name.startswith(start):
            break
        if not pattern.fullmatch(name):
            continue
        if len(parts) == 1:
            yield above + name, entry
        elif entry.other == "a folder":
            yield from _existing(os.path.join(folder, name), parts[1:], listed, f"{above}{name}/")
        else:
            yield above + name, entry._replace(other=entry.other or "a file, where tiles need a folder")


def _literal_start(template: str) -> str:
    """What all names of a template begin with."""
    first = next((found.start() for found in FIELD.finditer(template) if found[1] is not None), len(template))
    return FIELD.sub(lambda found: found[0][0], template[:first])
