"""The options that all commands over many inputs share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """What was asked for beside the work itself, each by the name of its option; None where it was not given.

    Attributes:
        inputs: names of files and folders, as they were typed.
        files_from: a list of further names.
        null: the names in it end in NUL.
        output: the name of the output, or a template of it.
        output_dir: the folder of the outputs.
        overwrite: replace outputs that exist.
        resume: skip outputs that were made from the same inputs with the same settings.
        remote: URL schemes whose names are remote.
        fail_fast: stop at the first input that fails.
        jobs: worker processes; 0 is one for each CPU, 1 works in this process.
        executor: the address of a Dask scheduler.
        report: the file that says what became of each input.
        dry_run: say what would be made, write nothing.
        progress: show a bar; None where a terminal decides.
        quiet, verbose, debug: say less; more; and where errors came from.
    """

    inputs: tuple[str, ...] = ()
    files_from: str | None = None
    null: bool = False
    output: str | None = None
    output_dir: str | None = None
    overwrite: bool = False
    resume: bool = False
    remote: tuple[str, ...] = ()
    fail_fast: bool = False
    jobs: int = 1
    executor: str | None = None
    report: str | None = None
    dry_run: bool = False
    progress: bool | None = None
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
