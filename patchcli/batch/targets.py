"""What a run reads and writes: its inputs, the output of each, and what would be lost, all of it before any work."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from patchcli.batch.inputs import OWN, relative_to
from patchcli.errors import UsageError
from patchcli.jobs.reading import number_of_pages
from patchcli.jobs.task import Task
from patchcli.stacks.tile_names import FIELD, INDEX_SUFFIX, POSITION_FIELDS, ROLE_FIELD
from patchcli.storage.files import STREAM, identity, is_special
from patchcli.storage.listing import Folders
from patchcli.storage.paths import WEB, absolute, is_remote, plain, scheme_of
from patchcli.threads import map_in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from patchcli.batch.inputs import Found
    from patchcli.batch.options import BatchOptions
    from patchcli.jobs.pages import PageRange

AnyTask = TypeVar("AnyTask", bound=Task)
OF_TILES = (*POSITION_FIELDS, ROLE_FIELD)  # fields that each tile file of an input fills for itself
OF_NO_NAME = ("index", "page", "category", *OF_TILES)  # fields that the name of an input does not fill
AT_ONCE_REMOTE = 8  # remote inputs whose headers are read together


class InputPage(NamedTuple):
    """An input, or a page of it, and its output.

    Attributes:
        source: the input.
        number: the how-manieth input it is, from 0.
        page: of the input; None where inputs have none.
        own_page: the same, where the input was found to have several of those that are asked for, each a task of its own.
        suffix: of names that are made from that of the input: the page, where several are asked for.
        searched: the folder that it was found in; None for one that was named.
        target: the output.
    """

    source: str
    number: int
    page: int | None = None
    own_page: int | None = None
    suffix: str = ""
    searched: str | None = None
    target: str = ""

    @property
    def relative(self) -> str:
        """The folder of the input below the one that was given."""
        return relative_to(self.source, self.searched)

    def fill(self, template: str, later: Sequence[str] = ()) -> str:
        """A template with the fields of the input; a template of those that are filled later."""
        return expand(template, self.source, self.number, page=self.page, later=later, relative=self.relative)

    def fill_file(self, template: str, option: str) -> str:
        """The name of a further file that goes with the input, which ``option`` gave as a name or a template.

        Raises:
            UsageError: no name, or standard input, as that file or as what would fill the template.
        """
        if not template:
            raise UsageError(f"an empty name was given to {option}; give the name of a file")
        if template == STREAM:
            raise UsageError(f"{option} is the name of a file; standard input (-) is not one")
        if self.source == STREAM and has_fields(template):
            raise UsageError("standard input has no name to fill a template with; give the name of a file")
        return self.fill(template)

    def below(self, path: str) -> str:
        """The name of an output below another folder, but for its suffix: that of a file, followed by the page."""
        return below(path) + self.suffix


def expand(
    template: str, path: str, index: int, *, page: int | None = None, later: Sequence[str] = (), **further: str | None
) -> str:
    """Fill the fields of a template; ``{{`` and ``}}`` stand for braces.

    Args:
        template: text with fields ``{stem}`` (name without suffix), ``{name}``, ``{ext}`` (suffix without its dot),
            ``{parent}`` (folder, ``.`` if none), ``{index}`` (number of the input, from 0), ``{page}`` (of the input, from 0, in
            at least four digits, so that names sort), and further ones.
        path: of the input.
        index: of the input.
        page: of the input; None for inputs that have none.
        later: fields that are filled later; where there are any, the result is a template of them.
        further: fields of the names of the arguments, those that there are: ``relative`` (the folder below the one that was
            given, ``.`` if none), ``category`` (of a box).

    Raises:
        UsageError: a field that there is not, or a brace alone.

    >>> expand("{parent}/masks/{stem}.{ext}", "a/b.png", 0), expand("{stem}-{page}.png", "b.tif", 0, page=12)
    ('a/masks/b.png', 'b-0012.png')
    >>> expand("out/{relative}/{stem}.npz", "in/a.png", 0, relative=".")
    'out/a.npz'
    """
    path = plain(path)
    name = os.path.basename(path)
    stem, suffix = _split(name)
    values = {"stem": stem, "name": name, "ext": suffix[1:], "parent": os.path.dirname(path) or ".", "index": str(index)}
    if page is not None:
        values["page"] = f"{page:04}"
    values |= {field: value for field, value in further.items() if value is not None}

    def fill(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return found[0] if later else found[0][0]
        if found[0] in ("{", "}"):
            raise UsageError(f"{template}: has a brace alone; write {found[0] * 2} for it, or a field such as {{stem}}")
        if found[1] in later:
            return found[0]
        if found[1] not in values:
            allowed = ", ".join(f"{{{field}}}" for field in (*values, *later))
            raise UsageError(f"{template}: has the field {found[0]}; allowed are {allowed}, and {{{{ for a brace")
        value = values[found[1]]
        return value.replace("{", "{{").replace("}", "}}") if later else value

    text = template.replace("{relative}/", "") if further.get("relative") == os.curdir else template  # not a name with ./ in it
    return FIELD.sub(fill, text)


def _split(name: str) -> tuple[str, str]:
    """A name without its suffix, and that; an index of tiles is called as its image is."""
    if name.lower().endswith(INDEX_SUFFIX):
        return name[: -len(INDEX_SUFFIX)], name[-len(INDEX_SUFFIX) :]
    return os.path.splitext(name)


def has_fields(template: str) -> bool:
    """Whether a template gives different names for different inputs."""
    return any(found[0] not in ("{{", "}}") and found[1] not in OF_TILES for found in FIELD.finditer(template))


def needs_name(template: str) -> bool:
    """Whether a template has fields that a name fills."""
    return any(found[1] not in (None, *OF_NO_NAME) for found in FIELD.finditer(template))


def has_field(template: str, field: str) -> bool:
    """Whether a template has a field of this name, and by that different names for what differs in it."""
    return any(found[1] == field for found in FIELD.finditer(template))


def as_name(text: str) -> str:
    r"""Any text as the name of one file or folder, which is not hidden: what cannot stand in one becomes ``_``.

    >>> as_name(r"../a\b"), as_name(".."), as_name("traffic light")
    ('___a_b', '__', 'traffic light')
    """
    shown = "".join(char if char.isprintable() and char not in "/\\" else "_" for char in text)
    bare = shown.lstrip(".")
    return "_" * (len(shown) - len(bare)) + bare or "_"


def place_tasks(
    options: BatchOptions,
    found: Found,
    make: Callable[[InputPage], AnyTask],
    *,
    rename: Callable[[str], str],
    pages: PageRange | None = None,
    later: Sequence[str] = (),
    also_written: Sequence[str] = (),
    also_read: Sequence[str] = (),
    named_in: Callable[[AnyTask], Sequence[str]] | None = None,
) -> list[AnyTask]:
    """Give each input its output, and refuse what could lose a file, before any work.

    Args:
        options: of the run.
        found: its inputs; those that are outputs of others, as a run before made them, are taken out of it.
        make: the task of an input and its output.
        rename: from an input's path, relative to ``output_dir``, to its output's; of several pages ``.p0003`` follows the path.
        pages: of each input, an image each; None where inputs have none.
        later: fields of the output that are filled later; where there are any, ``make`` is given a template of them.
        also_written: further files that the run writes.
        also_read: further files that it reads.
        named_in: the files that the sources of a task name, as an index its tiles; None where they name none.

    Raises:
        UsageError: no input or output, two outputs of one name, an output that is an input or that exists.
    """
    output, folder = options.output, options.output_dir
    _check_output(options, found.paths, also_read)
    if pages is not None and pages.several:
        _check_several(output, found.paths)
    several = _pages_of_each(found.paths, pages) if pages is not None and pages.several else {}
    usual: list[_Page] = [(None if pages is None else pages.first, None, "")]

    def placed(path: str, number: int, page: _Page) -> InputPage:
        if folder is not None:
            target = os.path.join(folder, rename(below(path) + page[-1]))
            return InputPage(path, number, *page, found.searched.get(path), target)
        one = InputPage(path, number, *page, found.searched.get(path))
        return one._replace(target=one.fill(str(output), later))

    def place() -> list[AnyTask]:
        every = enumerate(found.paths)
        return [make(placed(path, number, page)) for number, path in every for page in several.get(path, usual)]

    tasks = place()
    if leave_out_outputs(found, ((task.source, target) for task in tasks for target in task.made_before())):
        tasks = place()
    refuse_losses(options, tasks, also_written=also_written, also_read=also_read, named_in=named_in)
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
    if STREAM in inputs and output is not None and needs_name(output):
        raise UsageError(
            "standard input has no name to fill a template with; give -o a name without {stem}, {name}, {ext}, {parent}, "
            "{relative}"
        )


def _check_several(output: str | None, inputs: Sequence[str]) -> None:
    """Refuse to make several pages of what is read once, or to give them one name."""
    if STREAM in inputs:
        raise UsageError(
            "standard input (-) is read once, and --page asks for several pages; save it to a file, or give --page one number"
        )
    if output is not None and not has_field(output, "page"):
        raise UsageError(
            f"--page asks for several pages, and -o is {output}, one name for all; put {{page}} into it, or use -d/--output-dir"
        )


_Page = tuple[int | None, int | None, str]  # page, own_page and suffix of an `InputPage`


def _pages_of_each(paths: Sequence[str], pages: PageRange) -> dict[str, list[_Page]]:
    """The pages that are taken of each input.

    Of one that cannot be read it is the first that is asked for, with which it will fail when it is its turn.
    """

    def of(path: str) -> list[_Page]:
        try:
            numbers = pages.of(number_of_pages(path, pages.first))
        except Exception:  # noqa: BLE001  one input's trouble ends that input alone, later
            return [(pages.first, None, f".p{pages.first:04}")]
        return [(number, number, f".p{number:04}") for number in numbers]

    once = dict.fromkeys(paths)
    return dict(zip(once, map_in_order(of, once, AT_ONCE_REMOTE if any(map(is_remote, once)) else 1), strict=True))


def leave_out_outputs(found: Found, made: Iterable[tuple[str, str]]) -> bool:
    """Leave out inputs that were found in a folder and are outputs of other inputs, as a run before made them; whether any was.

    Args:
        found: the inputs, which become fewer.
        made: of each output the input that it is of, and its name.
    """
    if not found.searched:
        return False
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
    options: BatchOptions,
    tasks: Sequence[AnyTask],
    *,
    also_written: Sequence[str] = (),
    also_read: Sequence[str] = (),
    named_in: Callable[[AnyTask], Sequence[str]] | None = None,
) -> None:
    """Refuse outputs, the report among them, that would meet each other, an input, or a file that exists."""
    lists = [] if options.files_from is None else [options.files_from]
    reports = [] if options.report is None else [options.report]
    made = [target for task in tasks for target in task.targets()]
    targets = [*made, *also_written, *reports]
    _refuse_streams(targets, binary=STREAM not in reports and not options.dry_run)
    _refuse_remote(targets, reports)
    folders = Folders(targets)
    ours = set(made) if options.resume else set()
    names = [*(source for task in tasks for source in task.sources()), *also_read, *lists]
    if named_in is not None and _may_be_there(targets, folders):  # for nothing else can be lost
        names += [name for task in tasks for name in named_in(task)]
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


def _may_be_there(targets: Sequence[str], folders: Folders) -> bool:
    """Whether any output exists, or is remote, of which that is not known before it is asked for."""
    return any(is_remote(target) or (target != STREAM and folders.holds(target)) for target in targets)


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


def _refuse_streams(targets: Sequence[str], *, binary: bool) -> None:
    """Refuse standard output that was given twice, or is a terminal that would get what is ``binary``."""
    if targets.count(STREAM) > 1:
        raise UsageError("standard output (-) was given twice; give it once")
    if binary and STREAM in targets and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("standard output is a terminal and the output is binary; redirect it or give -o FILE")


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
