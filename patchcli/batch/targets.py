"""What a run reads and writes: its inputs, the output of each, and what would be lost, all of it before any work."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from patchcli.batch.inputs import OWN
from patchcli.errors import UsageError
from patchcli.jobs.reading import number_of_pages
from patchcli.jobs.task import Task
from patchcli.storage.files import STREAM, identity, is_special
from patchcli.storage.listing import Folders
from patchcli.storage.paths import WEB, absolute, is_remote, plain, scheme_of
from patchcli.threads import map_in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from patchcli.batch.inputs import Found
    from patchcli.batch.options import BatchOptions
    from patchcli.jobs.settings import PageRange

AnyTask = TypeVar("AnyTask", bound=Task)
FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
AT_ONCE_REMOTE = 8  # remote inputs whose headers are read together


class InputPage(NamedTuple):
    """An input, or a page of it, and its output.

    Attributes:
        source: the input.
        number: the how-manieth input it is, from 0.
        page: of the input; None where inputs have none.
        own_page: the same, where the input was found to have several of those that are asked for, each a task of its own.
        suffix: of names that are made from that of the input: the page, where several are asked for.
        target: the output.
    """

    source: str
    number: int
    page: int | None = None
    own_page: int | None = None
    suffix: str = ""
    target: str = ""

    def below(self, path: str) -> str:
        """The name of an output below another folder, but for its suffix: that of a file, followed by the page."""
        return below(path) + self.suffix


def expand(template: str, path: str, index: int, *, page: int | None = None) -> str:
    """Fill the fields of a template; ``{{`` and ``}}`` stand for braces.

    Args:
        template: text with fields ``{stem}`` (name without suffix), ``{name}``, ``{ext}`` (suffix without its dot),
            ``{parent}`` (folder, ``.`` if none), ``{index}`` (number of the input, from 0), ``{page}`` (of the input, from 0, in
            at least four digits, so that names sort).
        path: of the input.
        index: of the input.
        page: of the input; None for inputs that have none.

    Raises:
        UsageError: a field that there is not, or a brace alone.

    >>> expand("{parent}/masks/{stem}.{ext}", "a/b.png", 0), expand("{stem}-{page}.png", "b.tif", 0, page=12)
    ('a/masks/b.png', 'b-0012.png')
    """
    path = plain(path)
    name = os.path.basename(path)
    stem, suffix = os.path.splitext(name)
    values = {"stem": stem, "name": name, "ext": suffix[1:], "parent": os.path.dirname(path) or ".", "index": str(index)}
    if page is not None:
        values["page"] = f"{page:04}"

    def fill(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return found[0][0]
        if found[0] in ("{", "}"):
            raise UsageError(f"{template}: has a brace alone; write {found[0] * 2} for it, or a field such as {{stem}}")
        if found[1] not in values:
            raise UsageError(
                f"{template}: has the field {found[0]}; allowed are {', '.join(f'{{{f}}}' for f in values)}, and {{{{ for a brace"
            )
        return values[found[1]]

    return FIELD.sub(fill, template)


def has_fields(template: str) -> bool:
    """Whether a template gives different names for different inputs."""
    return any(found[0] not in ("{{", "}}") for found in FIELD.finditer(template))


def _needs_name(template: str) -> bool:
    """Whether a template has fields that a name fills."""
    return any(found[1] not in (None, "index", "page") for found in FIELD.finditer(template))


def _has_page(template: str) -> bool:
    """Whether a template gives different names for different pages."""
    return any(found[1] == "page" for found in FIELD.finditer(template))


def place_tasks(
    options: BatchOptions,
    found: Found,
    make: Callable[[InputPage], AnyTask],
    *,
    rename: Callable[[str], str],
    pages: PageRange | None = None,
    also_written: Sequence[str] = (),
    also_read: Sequence[str] = (),
) -> list[AnyTask]:
    """Give each input its output, and refuse what could lose a file, before any work.

    Args:
        options: of the run.
        found: its inputs; those that are outputs of others, as a run before made them, are taken out of it.
        make: the task of an input and its output.
        rename: from an input's path, relative to ``output_dir``, to its output's; of several pages ``.p0003`` follows the path.
        pages: of each input, an image each; None where inputs have none.
        also_written: further files that the run writes.
        also_read: further files that it reads.

    Raises:
        UsageError: no input or output, two outputs of one name, an output that is an input or that exists.
    """
    output, folder = options.output, options.output_dir
    _check_output(options, found.paths, also_read)
    if pages is not None and pages.several:
        _check_several(output, found.paths)
    pages_of = _pages_of_each(found.paths, pages)

    def place() -> list[AnyTask]:
        places = [one._replace(number=number) for number, path in enumerate(found.paths) for one in pages_of[path]]
        if folder is not None:
            return [make(one._replace(target=os.path.join(folder, rename(one.below(one.source))))) for one in places]
        return [make(one._replace(target=expand(str(output), one.source, one.number, page=one.page))) for one in places]

    tasks = place()
    if leave_out_outputs(found, ((task.source, target) for task in tasks for target in task.targets())):
        tasks = place()
    refuse_losses(options, tasks, also_written=also_written, also_read=also_read)
    return tasks


def _check_output(options: BatchOptions, inputs: Sequence[str], also_read: Sequence[str]) -> None:
    """Refuse outputs that are missing, asked for twice or too few for these inputs."""
    output, folder = options.output, options.output_dir
    named = output is not None and has_fields(output)
    if (output is None) == (folder is None):
        raise UsageError("give an output: -o FILE or -d DIR" if output is None else "use only one of -o and -d")
    if "" in (output, folder, *inputs):
        raise UsageError("an empty name was given; give names of files and folders")
    if output is not None and output.endswith(os.sep):
        raise UsageError(f"{output}: is the name of a folder; give -o a file, or use -d/--output-dir for a folder")
    if output is not None and len(inputs) > 1 and not named:
        raise UsageError(
            f"-o names one output but there are {len(inputs)} inputs; use -d/--output-dir, or names of the inputs' own, as in "
            "-o 'out/{stem}.npz'"
        )
    if [*inputs, *also_read].count(STREAM) > 1:
        raise UsageError("standard input (-) was given twice; give it once")
    if STREAM in inputs and folder is not None:
        raise UsageError("standard input has no name to keep below --output-dir; give -o/--output")
    if STREAM in inputs and output is not None and _needs_name(output):
        raise UsageError(
            "standard input has no name to fill a template with; give -o a name without {stem}, {name}, {ext}, {parent}"
        )


def _check_several(output: str | None, inputs: Sequence[str]) -> None:
    """Refuse to make several pages of what is read once, or to give them one name."""
    if STREAM in inputs:
        raise UsageError(
            "standard input (-) is read once, and --page asks for several pages; save it to a file, or give --page one number"
        )
    if output is not None and not _has_page(output):
        raise UsageError(
            f"--page asks for several pages, and -o is {output}, one name for all; put {{page}} into it, or use -d/--output-dir"
        )


def _pages_of_each(paths: Sequence[str], pages: PageRange | None) -> dict[str, list[InputPage]]:
    """The pages that are taken of each input.

    Of one that cannot be read it is the first that is asked for, with which it will fail when it is its turn.
    """
    if pages is None or not pages.several:
        return {path: [InputPage(path, 0, None if pages is None else pages.first)] for path in paths}

    def of(path: str) -> list[InputPage]:
        try:
            numbers = pages.of(number_of_pages(path, pages.first))
        except Exception:  # noqa: BLE001  one input's trouble ends that input alone, later
            return [InputPage(path, 0, pages.first, suffix=f".p{pages.first:04}")]
        return [InputPage(path, 0, number, number, f".p{number:04}") for number in numbers]

    once = dict.fromkeys(paths)
    return dict(zip(once, map_in_order(of, once, AT_ONCE_REMOTE if any(map(is_remote, once)) else 1), strict=True))


def leave_out_outputs(found: Found, made: Iterable[tuple[str, str]]) -> bool:
    """Leave out inputs that were found in a folder and are outputs of other inputs, as a run before made them; whether any was.

    Args:
        found: the inputs, which become fewer.
        made: of each output the input that it is of, and its name.
    """
    suffixes = tuple({path[path.rfind(".") :] for path in found.searched})
    maker = {absolute(target): source for source, target in made if target.endswith(suffixes)}

    def left_out(path: str, asked: frozenset[str] = frozenset()) -> bool:
        """Whether an input makes it that is not left out itself."""
        own = maker.get(absolute(path)) if path in found.searched else None
        return own is not None and own not in asked | {path} and not left_out(own, asked | {path})

    kept = [path for path in found.paths if not left_out(path)] if maker else found.paths
    left = len(found.paths) - len(kept)
    if left:
        found.passed[OWN] += left
        found.paths[:] = kept
    return left > 0


def refuse_losses(
    options: BatchOptions, tasks: Sequence[Task], *, also_written: Sequence[str] = (), also_read: Sequence[str] = ()
) -> None:
    """Refuse outputs, the report among them, that would meet each other, an input, or a file that exists."""
    lists = [] if options.files_from is None else [options.files_from]
    reports = [] if options.report is None else [options.report]
    made = [target for task in tasks for target in task.targets()]
    targets = [*made, *also_written, *reports]
    if targets.count(STREAM) > 1:
        raise UsageError("standard output (-) was given twice; give it once")
    binary = STREAM in targets and STREAM not in reports and not options.dry_run
    if binary and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("standard output is a terminal and the output is binary; redirect it or give -o FILE")
    _refuse_remote(targets, reports)
    folders = Folders(targets)
    ours = set(made) if options.resume else set()
    names = [*(source for task in tasks for source in task.sources()), *also_read, *lists]
    read = {folders.place(path) for path in names if path != STREAM}
    written: set[str] = set()
    files = _Files(names)
    for target in targets:
        if target == STREAM:
            continue
        remote = is_remote(target)
        there = not remote and folders.holds(target)
        if there and _special(target):
            continue
        place = folders.place(target)
        if place in written:
            raise UsageError(f"{target}: two outputs have this name{_makers(tasks, place, folders)}")
        if place in read:
            raise UsageError(f"{target}: is an input too; give the output another name")
        if there:
            files.refuse_one_of(target)
        if not options.overwrite and target not in ours and (folders.holds(target) if remote else there):
            raise UsageError(f"{target}: already exists; use --overwrite to replace it")
        written.add(place)


class _Files:
    """Files by device and inode, which tell that two names, through links or mounts, are of one file.

    Args:
        read: names of files that are read; they are looked at where an output exists.
    """

    def __init__(self, read: Sequence[str]) -> None:
        self._names, self._read = read, dict[object, str]()
        self._written: dict[object, str] = {}

    def refuse_one_of(self, target: str) -> None:
        """Refuse an output that exists and is a file that is read, or another output."""
        own = identity(target)
        if own is None:
            return
        self._read = self._read or {identity(path): path for path in self._names}
        for known, what in ((self._read, "input"), (self._written, "output")):
            if own in known:
                raise UsageError(f"{target}: is the same file as the {what} {known[own]}; give the output another name")
        self._written[own] = target


def _makers(tasks: Sequence[Task], place: str, folders: Folders) -> str:
    """Whose outputs have the same name, where they are of different inputs."""
    sources = [task.source for task in tasks if place in map(folders.place, task.targets())]
    if len(sources) > 1 and len({folders.place(source) for source in sources}) == 1:
        return f", because {sources[0]} was given {len(sources)} times; give it once"
    made = dict.fromkeys(sources)
    return f", that of {' and that of '.join(list(made)[:2])}" if len(made) > 1 else ""


def _refuse_remote(targets: Sequence[str], reports: Sequence[str]) -> None:
    """Refuse remote names that nothing can be written to, or not line by line."""
    for target in targets:
        if scheme_of(target) in WEB:
            raise UsageError(f"{target}: is a web address, which is read-only; write to a local file, s3:// or gs://")
    for report in reports:
        if is_remote(report):
            raise UsageError(f"{report}: is remote; give --report a local file, which is written line by line")


def _special(target: str) -> bool:
    """Whether something that exists is written to and never replaced; a folder is refused."""
    if os.path.isdir(target):
        raise UsageError(f"{target}: is a directory; give -o a file, or use -d/--output-dir for a folder")
    return is_special(target)


def below(path: str) -> str:
    """A path as it is kept below another folder: without root or scheme, and without steps upwards."""
    if is_remote(path):
        path = plain(path).partition("://")[2]
    parts = os.path.normpath(os.path.splitdrive(path)[1]).split(os.sep)
    return os.sep.join(part for part in parts if part not in ("", os.pardir))
