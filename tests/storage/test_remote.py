"""Remote files, from and to real servers on the loopback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest

from patchcli.batch import targets
from patchcli.batch.targets import expand
from patchcli.cli import main
from patchcli.errors import OutputError, PatchcliError
from patchcli.storage import files, remote
from patchcli.storage.outputs import Outputs, create
from patchcli.storage.paths import World, within
from tests.helpers import servers
from tests.helpers.runs import Run, gray, read_image, refused, write_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helpers.servers import Web


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in servers.CLEAN.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def web() -> Iterator[Web]:
    with servers.web() as served:
        yield served


@pytest.fixture(scope="module")
def s3_address() -> Iterator[str]:
    with servers.s3("bucket") as address:
        yield address


@pytest.fixture
def s3(s3_address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A folder of its own on an S3 server."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_address)
    return f"s3://bucket/{tmp_path.name}"


@pytest.fixture(scope="module")
def google_address() -> Iterator[str]:
    with servers.google("bucket") as address:
        yield address


@pytest.fixture
def google(google_address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A folder of its own on a Google Cloud Storage server."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", google_address)
    return f"gs://bucket/{tmp_path.name}"


@pytest.fixture
def store(request: pytest.FixtureRequest) -> str:
    folder: str = request.getfixturevalue(request.param)
    return folder


both = pytest.mark.parametrize("store", ["s3", "google"], indirect=True)


def scheme(folder: str) -> str:
    return folder.partition(":")[0]


def put(path: str, data: bytes) -> None:
    fsspec.filesystem(scheme(path), skip_instance_cache=True, use_listings_cache=False).pipe_file(path, data)


def got(path: str) -> bytes:
    data: bytes = fsspec.filesystem(scheme(path), skip_instance_cache=True, use_listings_cache=False).cat_file(path)
    return data


def there(folder: str) -> list[str]:
    store = fsspec.filesystem(scheme(folder), skip_instance_cache=True, use_listings_cache=False)
    bare = folder.partition("://")[2]
    return sorted(name.removeprefix(f"{bare}/") for name in store.find(bare))


def png(tmp_path: Path, name: str = "a.png", **of: Any) -> bytes:
    return write_image(tmp_path / name, gray(**of)).read_bytes()


def same_but_source(one: Path, other: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two stacks are equal but for where they came from, which is returned."""
    a, b = np.load(one), np.load(other)
    assert a.files == b.files
    metas = [json.loads(str(stack["meta"])) for stack in (a, b)]
    keys = ("source", "size", "mtime_ns")
    sources = [{key: meta["image"].pop(key) for key in keys if key in meta["image"]} for meta in metas]
    for meta, source in zip(metas, sources, strict=True):
        assert list(meta["record"]["inputs"].values())[-1] == list(source.values())
        del meta["record"]["inputs"]
    assert metas[0] == metas[1]
    assert all(np.array_equal(a[name], b[name]) for name in ("origins", "patches"))
    return sources[0], sources[1]


def fine(ran: subprocess.CompletedProcess[bytes]) -> None:
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_an_image_from_the_web_is_cut_as_a_local_one(patchcli: Run, tmp_path: Path, web: Web) -> None:
    web.files["/x/a.png"] = png(tmp_path)
    fine(patchcli("extract", f"{web.address}/x/a.png?token=1", "--remote", "http", "-s", 8, "-d", "out"))
    fine(patchcli("extract", "a.png", "-s", 8, "-o", "local.npz"))
    host = web.address.partition("://")[2]
    far, near = same_but_source(tmp_path / "out" / host / "x/a.png.npz", tmp_path / "local.npz")
    assert far == {**near, "mtime_ns": 1772510706 * 10**9}
    assert web.asked == {"/x/a.png": 1}


@pytest.mark.parametrize("place", ["web", "s3"])
def test_info_of_a_remote_file_is_that_of_the_same_on_disk(
    place: str, patchcli: Run, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    png(tmp_path, height=200, width=200)
    fine(patchcli("extract", "a.png", "-s", 8, "--stride", 2, "-o", "a.npz"))
    data = (tmp_path / "a.npz").read_bytes()
    assert len(data) > 5 * remote.HEAD
    served = request.getfixturevalue(place)
    if place == "web":  # a server that sends no parts of a file
        served.files["/a.npz"], path = data, f"{served.address}/a.npz"
    else:
        path = f"{served}/a.npz"
        put(path, data)
    call = ("info", path, "--json", "--remote", path.partition(":")[0])
    here, there, checked = (json.loads(patchcli(*one).stdout) for one in (("info", "a.npz", "--json"), call, (*call, "--check")))
    assert there == {**here, "file": path}
    assert checked == {**there, "origins": {"off_grid": 0, "repeated": 0}, "nonfinite": 0, "check": "ok"}
    ran = patchcli("info", path + "x", "--remote", path.partition(":")[0])
    refused(ran, f"{path}x: cannot be read: no such file", 1)


def test_without_the_option_every_name_is_local(patchcli: Run, tmp_path: Path, web: Web) -> None:
    web.files["/a.png"] = png(tmp_path)
    refused(patchcli("extract", f"{web.address}/a.png", "-s", 8, "-d", "out"), "a.png: cannot be read: no such file", 1)
    refused(patchcli("extract", f"{web.address}/a.png", "--remote", "https", "-s", 8, "-d", "out"), "no such file", 1)
    assert not web.asked
    local = tmp_path / "s3:" / "bucket" / "a.png"
    local.parent.mkdir(parents=True)
    (tmp_path / "a.png").rename(local)
    fine(patchcli("extract", "s3://bucket/a.png", "-s", 8, "-o", "s3://bucket/b.npz"))
    assert (tmp_path / "s3:/bucket/b.npz").exists()


def test_schemes_from_the_environment(patchcli: Run, tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.files["/a.png"] = png(tmp_path)
    monkeypatch.setenv("PATCHCLI_EXTRACT_REMOTE", "s3 http")
    fine(patchcli("extract", f"{web.address}/a.png", "-s", 8, "-o", "{stem}.npz"))
    assert (tmp_path / "a.npz").exists()


@pytest.mark.slow
@pytest.mark.parametrize("fault", [503, 429, 500, "reset", "cut"])
def test_what_passes_is_tried_again(fault: str | int, patchcli: Run, tmp_path: Path, web: Web) -> None:
    web.files["/a.png"] = png(tmp_path)
    web.faults["/a.png"] = [fault, fault, "fine"]
    fine(patchcli("crop", f"{web.address}/a.png", "--remote", "http", "--box", 1, 2, 5, 6, "-o", "b.png"))
    assert np.array_equal(read_image(tmp_path / "b.png"), gray()[2:8, 1:6])
    assert web.asked["/a.png"] == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "sentence", "asked"),
    [
        (503, "cannot be read: the server answers 503: Service Unavailable (5 attempts)", 5),
        ("cut", "cannot be read: the connection failed: ", 5),
        (403, "cannot be read: access is denied: 403", 1),
        (404, "cannot be read: no such file", 1),
        (501, "cannot be read: the server answers 501", 1),
    ],
)
def test_what_fails_for_good_is_named_and_stops_no_other(
    fault: str | int, sentence: str, asked: int, patchcli: Run, tmp_path: Path, web: Web
) -> None:
    web.files["/a.png"] = web.files["/b.png"] = png(tmp_path)
    web.faults["/a.png"] = [fault]
    names = (f"{web.address}/a.png", f"{web.address}/b.png")
    refused(patchcli("extract", *names, "--remote", "http", "-s", 8, "-o", "{stem}.npz"), f"{names[0]}: {sentence}", 1)
    assert web.asked == {"/a.png": asked, "/b.png": 1}
    assert not (tmp_path / "a.npz").exists()
    assert (tmp_path / "b.npz").exists()


@pytest.mark.slow
def test_slow_is_not_failed_and_silent_is(tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.files["/a.png"] = png(tmp_path)
    web.faults["/a.png"] = ["slow", "hang"]
    with within(World(remote=("http",))):
        with files.open_input(f"{web.address}/a.png") as file:
            assert file.read() == web.files["/a.png"]
        monkeypatch.setattr(remote, "READ_SECONDS", 0.3)
        with pytest.raises(PatchcliError, match=r"cannot be read: no answer in time \(5 attempts\)"):
            files.open_input(f"{web.address}/a.png")
    assert web.asked["/a.png"] == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("http://127.0.0.1:1/a.png", "the connection failed: "),
        ("http://[x/a.png", "invalid IPv6 URL"),
        ("http:///a.png", "is not a web address"),
        ("http://127.0.0.1:99999/a.png", "port out of range"),
    ],
)
def test_bad_addresses(name: str, sentence: str, patchcli: Run) -> None:
    refused(patchcli("extract", name, "--remote", "http", "-s", 8, "-o", "a.npz"), f"{name}: cannot be read: {sentence}", 1)


@both
def test_from_store_to_store(store: str, patchcli: Run, tmp_path: Path) -> None:
    put(f"{store}/in/a.png", png(tmp_path))
    world = ("--remote", scheme(store))
    fine(patchcli("extract", f"{store}/in/a.png", *world, "-s", 8, "--stride", 4, "-d", f"{store}/stacks"))
    stack = f"stacks/{store.partition('://')[2]}/in/a.png.npz"
    assert there(store) == ["in/a.png", stack]
    fine(patchcli("extract", "a.png", "-s", 8, "--stride", 4, "-o", "local.npz"))
    (tmp_path / "far.npz").write_bytes(got(f"{store}/{stack}"))
    far, near = same_but_source(tmp_path / "far.npz", tmp_path / "local.npz")
    assert abs(far.pop("mtime_ns") - time.time_ns()) < 600e9
    assert far == {key: value for key, value in near.items() if key != "mtime_ns"}
    fine(patchcli("merge", f"{store}/{stack}", *world, "-o", f"{store}/back.png", "--cover", f"{store}/cover.png"))
    (tmp_path / "back.png").write_bytes(got(f"{store}/back.png"))
    assert np.array_equal(read_image(tmp_path / "back.png"), gray())
    assert "cover.png" in there(store)
    fine(patchcli("crop", f"{store}/back.png", *world, "--box", 1, 2, 5, 6, "-o", f"{store}/{{stem}}-crop.png"))
    (tmp_path / "crop.png").write_bytes(got(f"{store}/back-crop.png"))
    assert np.array_equal(read_image(tmp_path / "crop.png"), gray()[2:8, 1:6])


@pytest.mark.slow
@both
def test_outputs_are_kept_unless_told_otherwise(store: str, patchcli: Run, tmp_path: Path) -> None:
    png(tmp_path), png(tmp_path, "b.png")
    put(f"{store}/b.png.npz", b"old")
    call = ("extract", "a.png", "b.png", "--remote", scheme(store), "-s", 8, "-d", store)
    refused(patchcli(*call), f"{store}/b.png.npz: already exists; use --overwrite to replace it")
    refused(
        patchcli(*call[:1], *call[2:-2], "-o", f"{store}/b.png.npz"), "b.png.npz: already exists; use --overwrite to replace it"
    )
    assert there(store) == ["b.png.npz"]
    fine(patchcli(*call, "--overwrite"))
    assert there(store) == ["a.png.npz", "b.png.npz"]
    assert len(got(f"{store}/b.png.npz")) > 100


@both
def test_an_output_that_came_into_being_meanwhile_is_kept(store: str) -> None:
    with within(World(remote=(scheme(store),))):
        outputs = Outputs()
        with (
            pytest.raises(PatchcliError, match=r"b\.bin: cannot be written: it exists by now"),
            outputs,
            outputs.create(f"{store}/a.bin"),
        ):
            with outputs.create(f"{store}/b.bin") as file:
                file.write(b"new")
            put(f"{store}/b.bin", b"other")
    assert there(store) == ["b.bin"]
    assert got(f"{store}/b.bin") == b"other"


def test_the_store_itself_refuses_to_replace_a_file(tmp_path: Path, s3: str) -> None:
    """So that two runs that send at the same moment cannot replace each other's; the other server knows no conditions."""
    put(f"{s3}/b.bin", b"other")
    (tmp_path / "x").write_bytes(b"new")
    with within(World(remote=("s3",))), pytest.raises(FileExistsError, match="file exists"):
        remote.send(str(tmp_path / "x"), f"{s3}/b.bin", overwrite=False)
    assert got(f"{s3}/b.bin") == b"other"


@pytest.mark.slow
def test_a_store_is_tried_again_too(patchcli: Run, tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", web.address)
    web.files["/bucket/a.png"] = web.files["/bucket/b.png"] = png(tmp_path)
    web.faults["/bucket/a.png"] = [503, "cut", "reset", "fine"]
    web.faults["/bucket/b.png"] = [503]
    ran = patchcli("extract", "s3://bucket/a.png", "s3://bucket/b.png", "--remote", "s3", "-s", 8, "-o", "{stem}.npz")
    refused(ran, "s3://bucket/b.png: cannot be read: the server answers 503", 1)
    assert b"(5 attempts)" in ran.stderr
    assert web.asked == {"/bucket/a.png": 4, "/bucket/b.png": 5}
    fine(patchcli("extract", "a.png", "-s", 8, "-o", "local.npz"))
    assert same_but_source(tmp_path / "a.npz", tmp_path / "local.npz")[0]["mtime_ns"] == 1772510706 * 10**9


@pytest.mark.slow
@both
def test_folders_of_objects_are_searched_as_local_ones(store: str, patchcli: Run, tmp_path: Path) -> None:
    data = png(tmp_path)
    names = ["B.PNG", "a.png", "b.png", "a/d.png", "a.d/e.png", "z/deep/c.png"]
    for name in (*names, "notes.txt", ".hidden.png", ".git/x.png", "z/x.npz", "out/y.png"):
        put(f"{store}/in/{name}", data)
    call = ("crop", f"{store}/in", "--remote", scheme(store), "--box", 1, 2, 5, 6)
    fine(patchcli(*call, "-d", f"{store}/in/out", "--report", "report.jsonl"))
    found = [json.loads(line).get("input") for line in (tmp_path / "report.jsonl").read_text().splitlines()[:-1]]
    assert found == [f"{store}/in/{name}" for name in names]
    put(f"{store}/list", f"{store}/in/a/\n{store}/in/b.png\n".encode())
    fine(patchcli("extract", "--files-from", f"{store}/list", "--remote", scheme(store), "-s", 8, "-o", "{index}-{stem}.npz"))
    assert sorted(path.name for path in tmp_path.glob("*.npz")) == ["0-d.npz", "1-b.npz"]
    refused(patchcli(*call[:1], f"{store}/empty/", *call[2:], "-d", "x"), f"{store}/empty/: holds no file to read", 1)


@both
def test_a_missing_bucket_is_one_line(store: str, patchcli: Run, tmp_path: Path) -> None:
    png(tmp_path)
    world = ("--remote", scheme(store))
    missing = f"{scheme(store)}://nosuchbucket"
    refused(
        patchcli("extract", f"{missing}/a.png", "a.png", *world, "-s", 8, "-d", "o"),
        f"{missing}/a.png: cannot be read: no such",
        1,
    )
    refused(patchcli("extract", "a.png", *world, "-s", 8, "-d", missing), f"{missing}/a.png.npz: cannot be written: no such", 3)
    assert (tmp_path / "o/a.png.npz").exists()


@pytest.mark.slow
def test_everything_that_belongs_to_an_input_may_be_remote(patchcli: Run, tmp_path: Path, s3: str) -> None:
    world = ("--remote", "s3")
    put(f"{s3}/a.png", png(tmp_path))
    put(f"{s3}/a_mask.png", png(tmp_path, "mask.png", seed=1))
    more = ("--mask", "{parent}/{stem}_mask.png", "--companion", f"{s3}/a_mask.png", "--shard-patches", 3)
    fine(patchcli("extract", f"{s3}/a.png", *world, "-s", 8, *more, "-o", f"{s3}/stack.npz"))
    shards = [f"{s3}/stack-0000{number}-of-00004.npz" for number in range(4)]
    assert [f"{s3}/{name}" for name in there(s3) if "of" in name and "comp" not in name] == shards
    refused(patchcli("extract", f"{s3}/a.png", *world, "-s", 8, *more, "-o", f"{s3}/stack.npz"), "already exists")
    fine(patchcli("merge", *shards, *world, "--reduce", "median", "-o", "back.png"))
    assert np.array_equal(read_image(tmp_path / "back.png"), gray())
    fine(patchcli("extract", "a.png", "-s", 8, "-o", "a.npz"))
    np.save(tmp_path / "bare.npy", np.load(tmp_path / "a.npz")["patches"])
    np.save(tmp_path / "window.npy", np.ones((8, 8)))
    put(f"{s3}/like.npz", (tmp_path / "a.npz").read_bytes())
    put(f"{s3}/window.npy", (tmp_path / "window.npy").read_bytes())
    fine(patchcli("merge", "bare.npy", *world, "--like", f"{s3}/like.npz", "--window", f"{s3}/window.npy", "-o", "again.png"))
    assert np.array_equal(read_image(tmp_path / "again.png"), gray())
    put(f"{s3}/boxes.csv", f"input,x,y,width,height,output\n{s3}/a.png,1,2,5,6,{s3}/box.png\n".encode())
    fine(patchcli("crop", *world, "--boxes", f"{s3}/boxes.csv"))
    fine(patchcli("crop", f"{s3}/a.png", *world, "--fit", f"{s3}/box.png", "--box", 1, 2, 5, 6, "-o", f"{s3}/found.png"))
    assert {"box.png", "found.png"} < set(there(s3))


@both
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # what gcsfs does is not shown outside of tests
def test_a_large_file_comes_and_goes_in_pieces(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(0).integers(0, 256, (12 << 20) + 5, np.uint8).tobytes()
    monkeypatch.setattr(remote, "PIECE_BYTES", 5 << 20)
    with within(World(remote=(scheme(store),))):
        with create(f"{store}/large.bin") as file:
            file.write(data)
        with files.open_input(f"{store}/large.bin") as file:
            assert file.read() == data
        assert not list(tmp_path.iterdir())


def test_outputs_come_all_or_none(tmp_path: Path, s3: str) -> None:
    with within(World(remote=("s3",))):
        with pytest.raises(RuntimeError, match="half way"), create(f"{s3}/a.bin"):
            raise RuntimeError("half way")
        (tmp_path / "full").touch()
        with pytest.raises(OutputError, match="no such bucket"), Outputs() as outputs:
            for name in (str(tmp_path / "local"), f"{s3}/a.bin", "s3://nosuchbucket/b.bin"):
                with outputs.create(name) as file:
                    file.write(b"new")
    assert there(s3) == []
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.mark.slow
def test_refused_connection_and_missing_credentials(patchcli: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    png(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    out = patchcli("extract", "a.png", "--remote", "s3", "-s", 8, "-d", "s3://bucket")
    refused(out, "s3://bucket/a.png.npz: cannot be looked for: the connection failed: Could not connect to the endpoint", 3)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    got = patchcli("extract", "s3://bucket/a.png", "a.png", "--remote", "s3", "-s", 8, "-o", "{index}.npz")
    refused(got, "s3://bucket/a.png: cannot be read: no credentials for s3 were found", 1)
    assert (tmp_path / "1.npz").exists()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--remote", "http", "-d", "http://127.0.0.1:1/x"), "is a web address, which is read-only; write to a local file, s3"),
        (
            ("--remote", "s3", "-d", "x", "--report", "s3://b/r.jsonl"),
            "s3://b/r.jsonl: is remote; give --report a local",
        ),
        (("--remote", "ftp", "-d", "x"), "'ftp' is not one of 's3', 'gs', 'https', 'http', 'memory'"),
        (("--remote", "s3", "-o", "s3://b/x/"), "s3://b/x/: is the name of a folder"),
    ],
)
def test_bad_calls(options: tuple[str, ...], sentence: str, patchcli: Run, tmp_path: Path) -> None:
    png(tmp_path)
    refused(patchcli("extract", "a.png", "-s", 8, *options), sentence)


def test_a_missing_extra_is_said(tmp_path: Path) -> None:
    program = (
        "import sys\nfor name in ('fsspec', 's3fs', 'tenacity'): sys.modules[name] = None\n"
        "from patchcli.cli import main\nsys.exit(main.run(['extract', 's3://b/a.png', '-s', '8', '-d', 'x', '--remote', 's3']))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=tmp_path, check=False)
    refused(ran, "--remote s3 needs the extra: pip install 'patchcli[remote]'")


def test_memory_within_one_process(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    world = ["--remote", "memory"]
    put("memory://in/a.png", png(tmp_path))
    assert main.run(["extract", "memory://in", *world, "-s", "8", "-d", "memory://stacks"]) == 0
    assert main.run(["merge", "memory://stacks/in/a.png.npz", *world, "-o", "back.png"]) == 0
    assert np.array_equal(read_image(tmp_path / "back.png"), gray())
    assert main.run(["extract", "memory://in", *world, "-s", "8", "-d", "memory://stacks"]) == 2
    assert main.run(["extract", "memory://in/a.png", "-s", "8", "-d", "stacks"]) == 1
    assert capfd.readouterr().err == (
        "patchcli: memory://stacks/in/a.png.npz: already exists; use --overwrite to replace it\n"
        "patchcli: memory://in/a.png: cannot be read: no such file or directory\n"
    )


@pytest.mark.slow
@both
def test_what_is_done_is_not_done_again(store: str, patchcli: Run, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        put(f"{store}/in/{name}", png(tmp_path))
    call = ["extract", f"{store}/in/", "-s", 8, "-d", f"{store}/out", "--remote", scheme(store), "--resume", "--report", "-"]

    def run(*further: object) -> list[str]:
        ran = patchcli(*call, *further)
        return [json.loads(line).get("status") for line in ran.stdout.splitlines()][:-1]

    assert run() == ["done", "done"]
    assert run() == ["skipped", "skipped"]
    time.sleep(1)  # stores tell of times in whole seconds, and the new image has as many bytes
    put(f"{store}/in/b.png", png(tmp_path, seed=3))
    assert run("-j", 2) == ["skipped", "done"]
    assert run() == ["skipped", "skipped"]
    refused(patchcli(*call[:-2], "--gray"), "a.png.npz: was made with --color at its default, not at gray")


def test_names_are_made_from_remote_names() -> None:
    with within(World(remote=("s3", "https"))):
        assert targets.below("s3://bucket/a/../b.png") == "bucket/b.png"
        assert targets.below("https://me:secret@host:80/x/a.png?token=1#top") == "host:80/x/a.png"
        assert targets.below("s3://bucket/a?b.png") == "bucket/a?b.png"
        assert expand("{parent}/{stem}-{index}.{ext}", "https://host/x/a.png?y=z.jpg", 3) == "https://host/x/a-3.png"
    assert targets.below("s3://bucket/a.png") == "s3:/bucket/a.png"


def test_a_signal_removes_what_is_unfinished(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\nfrom patchcli.storage import signals, paths\nfrom patchcli.storage.outputs import create\n"
        "signals.end_by_signals('SIGTERM')\n"
        "with paths.within(paths.World(remote=('s3',))), create('s3://b/a.bin') as file:\n"
        "    file.write(b'x'); file.flush(); print(len(os.listdir()), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=tmp_path, env=environment, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (-signal.SIGTERM, b"1\n", b"")
    assert not list(tmp_path.iterdir())


def test_nothing_of_it_is_loaded_where_it_is_not_asked_for(tmp_path: Path) -> None:
    png(tmp_path)
    program = (
        "import sys\nfrom patchcli.cli import main\nassert main.run(['extract', 'a.png', '-s', '8', '-o', 'a.npz']) == 0\n"
        "print(sorted(set(sys.modules) & {'fsspec', 'tenacity', 'aiohttp', 's3fs', 'gcsfs', 'asyncio'}"
        " | {'patchcli.storage.remote'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert ran.stdout == "[]\n"


@pytest.mark.slow
def test_a_web_file_is_done_again_unless_its_server_says_that_it_did_not_change(patchcli: Run, tmp_path: Path, web: Web) -> None:
    web.files["/a.png"] = png(tmp_path)
    call = ["extract", f"{web.address}/a.png", "--remote", "http", "-s", 8, "-o", "a.npz", "--resume", "--report", "-"]

    def run() -> str:
        return str(json.loads(patchcli(*call).stdout.splitlines()[0])["status"])

    assert [run(), run()] == ["done", "skipped"]
    web.changed = "Tue, 03 Mar 2026 04:05:07 GMT"
    assert [run(), run()] == ["done", "skipped"]
    web.files["/a.png"] += b"longer"
    assert [run(), run()] == ["done", "skipped"]
    web.changed = None
    assert [run(), run()] == ["done", "done"]
    web.changed = "the other day"
    assert [run(), run()] == ["done", "done"]


def test_addresses_that_are_no_file(patchcli: Run, web: Web) -> None:
    web.files |= {"/round.png": b"", "/folder/": b"<html>"}
    web.faults["/round.png"] = ["round"]
    call = ["extract", "--remote", "http", "-s", 8, "-d", "x"]
    refused(patchcli(*call, f"{web.address}/folder/"), f"{web.address}/folder/: is text, not an image that patchcli reads", 1)
    refused(patchcli(*call, f"{web.address}/round.png"), "cannot be read: its address leads to others without end", 1)


def test_a_dry_run_looks_at_web_files(patchcli: Run, tmp_path: Path, web: Web) -> None:
    web.files["/a.png"] = png(tmp_path)
    planned = patchcli("extract", f"{web.address}/a.png", "--remote", "http", "-s", 8, "-o", "a.npz", "-n")
    assert planned.stdout.decode().startswith(f"{web.address}/a.png -> a.npz: ")
    assert not (tmp_path / "a.npz").exists()
