"""How outputs come to exist."""

from __future__ import annotations

import fcntl
import os
import stat
from typing import TYPE_CHECKING

import pytest

from patchcli.errors import OutputError, PatchcliError
from patchcli.storage import atomic
from patchcli.storage.files import is_special, open_input
from patchcli.storage.outputs import create, delete
from patchcli.storage.paths import World, full, within
from patchcli.threads import AHEAD_BYTES, ahead

if TYPE_CHECKING:
    from pathlib import Path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_output_appears_whole_with_the_usual_mode(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "a.bin"
    with create(str(target)) as file:
        file.write(b"abc")
        file.flush()
        assert not target.exists()
    assert target.read_bytes() == b"abc"
    assert names(target.parent) == ["a.bin"]
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_failed_output_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="half way"), create(str(target), overwrite=True) as file:
        file.write(b"new")
        raise RuntimeError("half way")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_output_that_came_into_being_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    with pytest.raises(PatchcliError, match=r"a\.bin: cannot be written: it exists by now"), create(str(target)) as file:
        file.write(b"new")
        target.write_bytes(b"other")
    assert target.read_bytes() == b"other"
    assert names(tmp_path) == ["a.bin"]


def test_overwriting_keeps_link_and_mode(tmp_path: Path) -> None:
    real = tmp_path / "real.bin"
    real.write_bytes(b"old")
    real.chmod(0o640)
    (tmp_path / "link.bin").symlink_to(real)
    with create(str(tmp_path / "link.bin"), overwrite=True) as file:
        file.write(b"new")
    assert (tmp_path / "link.bin").is_symlink()
    assert real.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_a_link_that_was_made_and_answered_as_failed_is_done(tmp_path: Path) -> None:
    """As NFS answers where it repeats a call whose first answer was lost."""
    temporary, path = tmp_path / "temporary", tmp_path / "a.bin"
    temporary.write_bytes(b"whole")
    os.link(temporary, path)
    atomic.put_in_place(str(temporary), str(path), overwrite=False)
    assert [one.name for one in tmp_path.iterdir()] == ["a.bin"]
    assert path.read_bytes() == b"whole"


def test_device_is_written_to_and_stays_a_device() -> None:
    assert is_special("/dev/null")
    with create("/dev/null") as file:
        file.write(b"abc")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(OutputError, match="/dev/full: cannot be written: no space left on device"), create("/dev/full") as file:
        file.write(b"abc")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_place_that_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match=r"file/a: cannot be written: not a directory"),
        create(str(tmp_path / "file" / "a")),
    ):
        pass


def test_a_new_file_that_somebody_tidies_up_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its creation and its lock it looks like one that a dead process left."""
    real, tidied = atomic.claim, [0]

    def late(number: int) -> bool:
        if tidied[0] < 3:
            tidied[0] += 1
            atomic.remove_leftovers([str(tmp_path / "a.bin")])
            assert names(tmp_path) == []
        return real(number)

    monkeypatch.setattr(atomic, "claim", late)
    with create(str(tmp_path / "a.bin")) as file:
        file.write(b"whole")
        assert len(names(tmp_path)) == 1
    assert (tmp_path / "a.bin").read_bytes() == b"whole"
    assert tidied == [3]
    assert names(tmp_path) == ["a.bin"]


def test_a_new_file_that_is_being_tidied_up_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, held, tried = atomic.claim, list[int](), list[int]()

    def late(number: int) -> bool:
        tried.append(number)
        if not held:  # locked by another, and not yet removed
            held.append(os.open(f"/proc/self/fd/{number}", os.O_RDWR))
            fcntl.flock(held[0], fcntl.LOCK_EX)
        return real(number)

    monkeypatch.setattr(atomic, "claim", late)
    with create(str(tmp_path / "a.bin")) as file:
        file.write(b"whole")
    os.close(held[0])
    assert len(tried) == 2
    assert names(tmp_path) == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"whole"


def test_what_is_gone_already_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "a.bin").touch()
    for _ in range(2):
        delete(str(tmp_path / "a.bin"))
    assert names(tmp_path) == []
    (tmp_path / "a.bin").touch()
    with pytest.raises(OutputError, match=r"a\.bin/x: cannot be written: not a directory"):
        delete(str(tmp_path / "a.bin" / "x"))


def test_long_names_have_room_for_the_temporary_one(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 127):
        target = tmp_path / name
        with create(str(target)) as file:
            file.write(b"abc")
        assert target.read_bytes() == b"abc"


@pytest.mark.parametrize(("kind", "sentence"), [("missing", "no such file"), ("folder", "is a directory"), ("fifo", "is a FIFO")])
def test_only_regular_files_are_opened(tmp_path: Path, kind: str, sentence: str) -> None:
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(PatchcliError, match=sentence):
        open_input(str(path))


def test_names_are_names_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("http:", "<clipboard>", "a.zip"):
        with pytest.raises(PatchcliError, match="no such file"):
            open_input(f"{name}/b.png")


def test_what_is_read_ahead_follows_names_as_the_caller_does(tmp_path: Path) -> None:
    with within(World(str(tmp_path))):
        assert list(ahead((full(name) for name in ("a", "b")), AHEAD_BYTES)) == [str(tmp_path / "a"), str(tmp_path / "b")]
