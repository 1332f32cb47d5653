"""What ``info`` tells of a ``.npz`` or ``.npy`` file: a stack, crops, or arrays of any other program."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO

from patchcli.errors import PatchcliError, counted
from patchcli.jobs.info_fact import Fact, json_words, size_and_kind
from patchcli.jobs.info_stack import drain, stack_facts
from patchcli.npy_header import NotPlainError

if TYPE_CHECKING:
    from patchcli.stacks.npz import NpzReader

STACK_MEMBERS = {"meta", "origins", "patches"}  # a stack, be its meta damaged; crops have boxes in place of origins


def array_facts(file: BinaryIO, *, check: bool) -> list[Fact]:
    """What a .npz or .npy holds."""
    from patchcli.stacks.npz import NpzReader

    npz = NpzReader(file)
    nbytes = file.seek(0, 2)
    about = _about(npz)
    if about.get("format") == "patchcli.stack" or STACK_MEMBERS.issubset(npz.names()):
        facts = stack_facts(file, npz, about, nbytes, check=check)
    elif about.get("format") == "patchcli.crops":
        facts = _of_crops(npz, about, nbytes)
    else:
        facts = _of_others(npz, nbytes)
    if check:
        npz.check_headers()
        for name in npz.names():
            try:
                drain(npz.open(name))
            except NotPlainError:
                npz.check_bytes(name)
    return facts


def _about(npz: NpzReader) -> dict[str, Any]:
    """The JSON object in the member ``meta``; an empty one where there is none."""
    if "meta" not in npz.names():
        return {}
    try:
        stream = npz.open("meta")
    except NotPlainError:
        return {}
    if stream.shape != () or stream.dtype.kind != "U":
        return {}
    try:
        about = json.loads(stream.load_text())
    except (ValueError, RecursionError) as error:
        if isinstance(error, PatchcliError):
            raise
        return {}
    return about if isinstance(about, dict) else {}


def _of_crops(npz: NpzReader, about: dict[str, Any], nbytes: int) -> list[Fact]:
    stream = npz.open("patches")
    if len(stream.shape) not in (3, 4):
        raise PatchcliError(f"has crops of shape {stream.shape}; expected (N, h, w) or (N, h, w, channels)")
    count, height, width = stream.shape[:3]
    words, fields = size_and_kind(width, height, (*stream.shape, 1)[3], stream.dtype)
    images = len(about["images"]) if isinstance(about.get("images"), list) else 0
    how = {key: about.get(key) for key in ("resampling", "align_corners", "outside")}
    return [
        Fact(
            "format",
            f"crops, version {about.get('version')}, {nbytes} bytes",
            {"kind": "crops", "bytes": nbytes, "version": about.get("version")},
        ),
        Fact("crops", f"{count} of {counted(images, 'image')}, {words}", {"crops": count, "images": images, "crop": fields}),
        Fact("made with", ", ".join(f"{key} {json_words(value)}" for key, value in how.items()), how),
    ]


def _of_others(npz: NpzReader, nbytes: int) -> list[Fact]:
    kind = "NPY, an array" if npz.bare else f"NPZ, {counted(len(npz.names()), 'array')}"
    arrays: list[dict[str, Any]] = []
    facts: list[Fact] = []
    for name in npz.names():
        try:
            stream = npz.open(name)
        except NotPlainError as error:
            if npz.bare:
                raise
            arrays.append({"name": name, "shape": None, "dtype": None, "error": str(error)})
            facts.append(Fact("array", str(error)))
            continue
        arrays.append({"name": name or None, "shape": list(stream.shape), "dtype": stream.dtype.name})
        facts.append(Fact("array", f"{name}{':' if name else ''} shape {stream.shape}, {stream.dtype.name}".lstrip()))
    return [Fact("format", f"{kind}, {nbytes} bytes", {"kind": "array", "bytes": nbytes, "arrays": arrays}), *facts]
