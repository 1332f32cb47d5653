"""Functions by name: a process that lives longer than their files are as they were runs what is there now."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from patchcli.errors import UsageError
from patchcli.jobs import map_function
from patchcli.jobs.map_function import file_of, load_function, parse_function

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    path = sys.path[:]
    yield
    map_function.forget()
    assert sys.path == path


def write(path: Path, text: str, seconds: int) -> None:
    """A file of some time, which no bytecode is older than."""
    path.write_text(text)
    os.utime(path, (seconds, seconds))


def value(name: str) -> Any:
    return load_function(name, [])(np.zeros((1, 2, 2)), np.zeros((1, 2), int))


def test_a_file_that_changed_is_run_again(tmp_path: Path) -> None:
    write(tmp_path / "net.py", "from helper import K\n\ndef f(patches): return K, 'then'\n", 10)
    write(tmp_path / "helper.py", "K = 1\n", 10)
    name = f"{tmp_path}/net.py:f"
    assert value(name) == (1, "then")
    module = sys.modules["patchcli_map_net"]
    assert value(name) == (1, "then")
    assert sys.modules["patchcli_map_net"] is module  # what is as it was is not run again
    write(tmp_path / "helper.py", "K = 2\n", 20)
    assert value(name) == (2, "then")
    write(tmp_path / "net.py", "from helper import K\n\ndef f(patches): return K, 'now'\n", 30)
    assert value(name) == (2, "now")


def test_files_of_two_folders_keep_apart(tmp_path: Path) -> None:
    for folder, number in (("a", 1), ("b", 50)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.py").write_text("from helper import K\n\ndef f(patches): return K\n")
        (tmp_path / folder / "helper.py").write_text(f"K = {number}\n")
    names = [f"{tmp_path}/{folder}/net.py:f" for folder in ("a", "b", "a")]
    assert [value(name) for name in names] == [1, 50, 1]
    map_function.forget()
    assert "helper" not in sys.modules


def test_what_was_there_before_stays(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("import json, numpy\n\ndef f(patches): return numpy.pi\n")
    numpy = sys.modules["numpy"]
    assert value(f"{tmp_path}/net.py:f") == np.pi
    map_function.forget()
    assert sys.modules["numpy"] is numpy


def test_places(tmp_path: Path) -> None:
    file = tmp_path / "f.py"
    file.write_text("")
    assert parse_function(f"{file}:Model.apply") == (str(file), "Model.apply")
    assert parse_function("a.b:c") == ("a.b", "c")
    assert file_of(f"{file}:f") == str(file)
    assert file_of("patchcli.functions.dct:dct_denoise") == sys.modules["patchcli"].__path__[0] + "/functions/dct.py"
    assert file_of("math:sqrt") in (None, getattr(sys.modules["math"], "__file__", None))
    assert file_of("no_such_module:f") is None
    for text in ("f", "f:", ":f", "a b:c", "a.b:c d", "a..b:c", "f.py:"):
        with pytest.raises(UsageError, match=r"write package\.module:function or file\.py:function"):
            parse_function(text)
