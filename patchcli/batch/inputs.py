"""What a run reads: files as named, folders searched, lists of names."""

from __future__ import annotations

import codecs
import os
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from patchcli.errors import PatchcliError, UsageError, reason
from patchcli.storage.files import STREAM, identity, name_of, open_input
from patchcli.storage.paths import is_remote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from patchcli.batch.options import BatchOptions
    from patchcli.batch.progress import Voice


MANY_SUFFIXES = 20  # suffixes that are told one by one
NO_FILE = "holds no file to read"
OWN = "outputs of this run"
OWN_FOLDER = "is the folder for the outputs, which is not searched"


class Found(NamedTuple):
    """The inputs of a run.

    Attributes:
        paths: files, in the order given; those of a folder sorted by name, its subfolders after its files.
        faults: folders that could not be searched, and lists of boxes with bad ones, each with what is wrong with it.
        empty: folders without a file to read, each with the reason.
        passed: how many files of folders were passed over, by suffix, in lower case.
        searched: files that were found in folders, not named, each with the folder that was.
    """

    paths: list[str]
    faults: list[tuple[str, str]]
    empty: list[tuple[str, str]]
    passed: Counter[str]
    searched: dict[str, str]

    @classmethod
    def nothing(cls) -> Found:
        """Nothing yet."""
        return cls([], [], [], Counter(), {})

    def relative(self, path: str) -> str:
        """The folder of a file below the one that was given; ``.`` of a file there, or that was given itself."""
        return relative_to(path, self.searched.get(path))

    @property
    def missing(self) -> list[tuple[str, str]]:
        """Folders that failed, each with the reason: where there is nothing at all to do, an empty one is rather not mounted."""
        return self.faults if self.paths else [*self.faults, *self.empty]

    def tell(self, voice: Voice) -> None:
        """Say which folders are empty beside others, and to those who asked, what was passed over."""
        for folder, why in self.empty if voice.hint and self.paths else ():
            assert voice.hint
            voice.hint(f"{folder}: {why}")
        if voice.verbose and voice.done and self.passed:
            voice.done(self.passed_in_words())

    def passed_in_words(self) -> str:
        """What was passed over, most frequent suffix first."""
        kinds = [f"{count} {suffix or 'without a suffix'}" for suffix, count in self.passed.most_common(MANY_SUFFIXES)]
        rest = self.passed.total() - sum(count for _, count in self.passed.most_common(MANY_SUFFIXES))
        files = "file" if self.passed.total() == 1 else "files"
        return f"{self.passed.total()} {files} of folders passed over: {', '.join(kinds + [f'{rest} others'] * bool(rest))}"


def relative_to(path: str, folder: str | None) -> str:
    """The folder of a file below one that it was found in; ``.`` of a file there, or that was found in none."""
    return os.curdir if folder is None else os.path.dirname(path.removeprefix(folder).lstrip("/" + os.sep)) or os.curdir


def find(options: BatchOptions, suffixes: Sequence[str]) -> Found:
    """All inputs: INPUTS, then the names of ``--files-from``; folders become the files below them.

    Args:
        options: of the run.
        suffixes: of files that count in folders, in lower case; a file that is named is taken whatever its suffix.

    Raises:
        UsageError: an empty name, standard input asked for twice, a list that cannot be read.
    """
    names = list(options.inputs)
    if options.null and options.files_from is None:
        raise UsageError("-0/--null is for --files-from, which was not given")
    if [*names, options.files_from].count(STREAM) > 1:
        raise UsageError("standard input (-) was given twice; give it once")
    if options.files_from is not None:
        names += _listed(options.files_from, null=options.null)
    if "" in names:
        raise UsageError("an empty name was given; give names of files and folders")
    avoid = None if options.output_dir is None else identity(options.output_dir)
    found = Found.nothing()
    for name in names:
        if is_remote(name):
            _find_remote(name, tuple(suffixes), options.output_dir, found)
            continue
        if name == STREAM or not os.path.isdir(name):
            found.paths.append(name)
            continue
        before = len(found.paths), len(found.faults)
        below = list(_below(name, tuple(suffixes), avoid, found))
        found.paths.extend(below)
        found.searched.update(dict.fromkeys(below, name))
        if (len(found.paths), len(found.faults)) == before:
            found.empty.append((name, OWN_FOLDER if avoid is not None and identity(name) == avoid else NO_FILE))
    return found


def _find_remote(name: str, suffixes: tuple[str, ...], output_dir: str | None, found: Found) -> None:
    """A name that ends as files do that are read is a file; of others the server is asked."""
    from patchcli.storage import remote

    try:
        if name.lower().endswith(suffixes) or not remote.is_folder(name):
            found.paths.append(name)
            return
        avoid = None if output_dir is None else output_dir.rstrip("/") + "/"
        searched = remote.search(name)
    except OSError as error:
        found.faults.append((name, f"cannot be searched: {reason(error)}"))
        return
    before = len(found.paths), len(found.faults)
    names = {path: path for path in searched if path == _as_on_disk(path)}
    for path in searched:
        if avoid is not None and path.startswith(avoid):
            continue
        if not path.lower().endswith(suffixes):
            found.passed[_suffix(path)] += 1
        elif (first := names.setdefault(_as_on_disk(path), path)) == path:
            found.paths.append(path)
            found.searched[path] = name
        else:
            found.faults.append((path, f"its output would have the name of that of {first}; name it alone, with -o"))
    if (len(found.paths), len(found.faults)) == before:
        found.empty.append((name, NO_FILE))


def _as_on_disk(path: str) -> str:
    """A name in a store without the parts that no folder of a disk has, as outputs below ``-d`` are named."""
    scheme, _, rest = path.partition("://")
    return f"{scheme}://{os.path.normpath(f'/{rest}')[1:]}"


def _listed(path: str, *, null: bool) -> list[str]:
    """The names in a list, as bytes that the file system knows; ``-`` in it is a file of that name."""
    try:
        with open_input(path) as file:
            data = file.read()
    except PatchcliError as error:
        raise UsageError(f"{name_of(path, 'standard input')}: {error}") from None
    except OSError as error:
        raise UsageError(f"{name_of(path, 'standard input')}: cannot be read: {reason(error)}") from None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(f"{name_of(path, 'standard input')}: is UTF-16 text; convert it to names as they are on disk")
    if not null and b"\0" in data:
        raise UsageError(f"{name_of(path, 'standard input')}: holds NUL bytes; use -0/--null for names that end in them")
    data = data.removeprefix(codecs.BOM_UTF8)
    names = data.split(b"\0") if null else [line.removesuffix(b"\r") for line in data.split(b"\n")]
    return [os.path.join(os.curdir, STREAM) if name == b"-" else os.fsdecode(name) for name in names if name]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one; what cannot be told of is a file, and fails as such, alone."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _below(folder: str, suffixes: tuple[str, ...], avoid: tuple[int, int] | None, found: Found) -> Iterator[str]:
    """Files of these suffixes below a folder, sorted; hidden ones, links to folders and the output folder are left out."""
    waiting = [folder]
    while waiting:
        folder = waiting.pop()
        if avoid is not None and identity(folder) == avoid:
            continue
        try:
            with os.scandir(folder) as entries:
                names = sorted((entry.name, _is_folder(entry), entry.is_symlink()) for entry in entries if entry.name[0] != ".")
        except OSError as error:
            found.faults.append((folder, f"cannot be searched: {reason(error)}"))
            continue
        for name, is_folder, _ in names:
            if is_folder:
                continue
            if name.lower().endswith(suffixes):
                yield os.path.join(folder, name)
            else:
                found.passed[_suffix(name)] += 1
        waiting += [os.path.join(folder, name) for name, is_folder, is_link in reversed(names) if is_folder and not is_link]
