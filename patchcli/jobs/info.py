"""``info``: what is in an image file, a stack or another array file, from its headers alone; checked, from every byte."""

from __future__ import annotations

import contextlib
import os
from typing import BinaryIO

from patchcli.errors import PatchcliError
from patchcli.jobs.content import content_of
from patchcli.jobs.info_fact import Fact
from patchcli.storage.files import open_head, open_input
from patchcli.storage.paths import is_remote


def facts_of(path: str, *, check: bool, max_pixels: int) -> list[Fact]:
    """What is in a file.

    Args:
        path: of the file, or ``-``.
        check: read all of it.
        max_pixels: of an image that is decoded whole to check it; 0 for no limit.

    Raises:
        PatchcliError: a file of no known kind, a damaged one; where it is not checked, one whose headers are damaged.
    """
    if is_remote(path) and not check:
        with contextlib.suppress(PatchcliError), open_head(path) as file:  # not every server sends parts of a file
            return _facts_in(file, path, check=False, max_pixels=max_pixels)
    with open_input(path) as file:
        facts = _facts_in(file, path, check=check, max_pixels=max_pixels)
    return [*facts, *([Fact("check", "ok", {"check": "ok"})] if check else [])]


def _facts_in(file: BinaryIO, path: str, *, check: bool, max_pixels: int) -> list[Fact]:
    """By the kind of file, of which each is known by a module of its own, imported for it alone."""
    content = content_of(file, path)
    if content == "tiles":
        from patchcli.jobs.info_stack import tile_facts

        return tile_facts(file, os.path.dirname(path), check=check, max_pixels=max_pixels)
    if content == "arrays":
        from patchcli.jobs.info_arrays import array_facts

        return array_facts(file, check=check)
    from patchcli.jobs.info_image import image_facts

    return image_facts(file, check=check, max_pixels=max_pixels)
