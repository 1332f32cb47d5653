"""What stores do to uploads and downloads: lost answers, conflicts, refusals; through a proxy before a real server."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import fsspec
import numpy as np
import pytest

from patchcli.errors import OutputError, PatchcliError
from patchcli.storage import files, remote, remote_errors, s3
from patchcli.storage.outputs import Outputs, create
from patchcli.storage.paths import World, within
from tests.helpers import servers
from tests.helpers.runs import Run, gray, refused, write_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helpers.servers import Proxy

SMALL, LARGE = b"ours" * 25, np.random.default_rng(0).integers(0, 256, (12 << 20) + 5, np.uint8).tobytes()
FOREIGN = b"made by another program"
ODD = {  # keys, and those of which an output would have the name
    "a.png": "",
    "b//c.png": "",
    "./d/e.png": "",
    "x/../f.png": "",
    "../up.png": "",
    "/a.png": "a.png",
    "b/./c.png": "b//c.png",
}


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with servers.s3("bucket") as address:
        yield address


@pytest.fixture(scope="module")
def passing(moto: str) -> Iterator[Proxy]:
    with servers.proxy(moto) as proxy:
        yield proxy


@pytest.fixture
def proxy(passing: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy before an S3 server, of which this process knows nothing yet."""
    for name, value in {**servers.CLEAN, "AWS_ENDPOINT_URL": passing.address}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote_errors, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(remote, "PIECE_BYTES", 5 << 20)
    forget()
    with within(World(remote=("s3",))):
        yield passing
    forget()
    passing.reset()


def forget() -> None:
    s3.made_in.cache_clear()
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    s3.HEEDING.clear()
    s3.UNAWARE.clear()


@pytest.fixture
def bucket(moto: str) -> Bucket:
    return Bucket(moto)


class Bucket:
    """A bucket, without the proxy."""

    def __init__(self, address: str) -> None:
        self.store = fsspec.filesystem("s3", endpoint_url=address, key="x", secret="x", skip_instance_cache=True)  # noqa: S106

    def put(self, path: str, data: bytes) -> None:
        self.store.call_s3("put_object", Bucket="bucket", Key=path.removeprefix("s3://bucket/"), Body=data)

    def got(self, path: str) -> bytes:
        self.store.invalidate_cache()
        data: bytes = self.store.cat_file(path)
        return data

    def keys(self, prefix: str) -> list[str]:
        return [one["Key"] for one in self.store.call_s3("list_objects_v2", Bucket="bucket", Prefix=prefix).get("Contents", ())]

    def uploads(self, prefix: str) -> list[str]:
        found = self.store.call_s3("list_multipart_uploads", Bucket="bucket").get("Uploads", ())
        return [one["Key"] for one in found if one["Key"].startswith(prefix)]


def write(path: str, data: bytes, *, overwrite: bool = False) -> None:
    with create(path, overwrite=overwrite) as file:
        file.write(data)


LOST = [
    (SMALL, {"PutObject": ["lost"]}),
    (SMALL, {"PutObject": ["lost"] * 4}),
    (SMALL, {"PutObject": [409]}),
    (SMALL, {"PutObject": [409, "lost", 503, "lost"]}),
    (LARGE, {"CreateMultipartUpload": ["lost"]}),
    (LARGE, {"CreateMultipartUpload": [503, "lost"]}),
    (LARGE, {"UploadPart": ["lost"]}),
    (LARGE, {"UploadPart": ["fine", "lost", 503, "lost", "lost"]}),
    (LARGE, {"CompleteMultipartUpload": ["lost"]}),
    (LARGE, {"CompleteMultipartUpload": ["lost"] * 4}),
    (LARGE, {"CompleteMultipartUpload": [409]}),
    (LARGE, {"CompleteMultipartUpload": [409, 503, "lost", "lost"]}),
    (LARGE, {"CompleteMultipartUpload": ["lost"], "AbortMultipartUpload": ["lost"], "HeadObject": ["fine", "lost"]}),
]
lost = pytest.mark.parametrize(("data", "faults"), LOST, ids=lambda of: "" if isinstance(of, bytes) else "-".join(of))


@pytest.mark.slow
@lost
@pytest.mark.parametrize("known", [False, True], ids=["strange", "known"])
def test_a_lost_answer_is_no_fault(
    data: bytes, faults: dict[str, list[str | int]], known: bool, proxy: Proxy, bucket: Bucket, tmp_path: Path
) -> None:
    """Whether the bucket was seen to heed conditions before, or was not."""
    path = f"s3://bucket/{tmp_path.name}/a.bin"
    if known:
        write(f"{path}.first", b"")
        assert {"bucket"} == s3.HEEDING
    before = proxy.asked.total()
    proxy.faults = {kind: list(of) for kind, of in faults.items()}
    write(path, data)
    assert bucket.got(path) == data
    assert proxy.asked.total() > before
    assert not proxy.asked["GetObject"]  # a checksum tells
    assert not any(of for kind, of in proxy.faults.items() if kind not in ("AbortMultipartUpload", "HeadObject"))


@pytest.mark.slow
@lost
def test_a_lost_answer_is_no_fault_where_something_is_replaced(
    data: bytes, faults: dict[str, list[str | int]], proxy: Proxy, bucket: Bucket, tmp_path: Path
) -> None:
    path = f"s3://bucket/{tmp_path.name}/a.bin"
    bucket.put(path, FOREIGN)
    proxy.faults = {kind: list(of) for kind, of in faults.items()}
    write(path, data, overwrite=True)
    assert bucket.got(path) == data


@pytest.mark.slow
@lost
@pytest.mark.parametrize("foreign", [FOREIGN, None], ids=["other", "as-long"])
def test_what_another_program_made_meanwhile_is_kept(
    data: bytes, faults: dict[str, list[str | int]], foreign: bytes | None, proxy: Proxy, bucket: Bucket, tmp_path: Path
) -> None:
    path = f"s3://bucket/{tmp_path.name}/a.bin"
    made = foreign or data[:-1] + b"!"
    proxy.faults = {kind: list(of) for kind, of in faults.items()}
    proxy.meanwhile = lambda: bucket.put(path, made)
    with pytest.raises(PatchcliError, match=r"a\.bin: cannot be written: it exists by now, made otherwise") as raised:
        write(path, data)
    assert not isinstance(raised.value, OutputError)
    assert bucket.got(path) == made


@pytest.mark.slow
@pytest.mark.parametrize("data", [SMALL, LARGE])
def test_what_another_program_made_alike_is_done(data: bytes, proxy: Proxy, bucket: Bucket, tmp_path: Path) -> None:
    """Whatever its ETag: large ones here came in other parts; and it stays where another output of the same input fails."""
    path = f"s3://bucket/{tmp_path.name}/a.bin"
    write(f"{path}.first", b"")
    outputs = Outputs()
    with pytest.raises(PatchcliError, match=r"b\.bin: cannot be written: it exists by now"), outputs:
        for name in (path, path.replace("a.bin", "b.bin")):
            with outputs.create(name) as file:
                file.write(data)
        bucket.store.pipe_file(path, data, chunksize=6 << 20)
        bucket.put(path.replace("a.bin", "b.bin"), FOREIGN)
    assert bucket.got(path) == data
    assert bucket.got(path.replace("a.bin", "b.bin")) == FOREIGN
    assert proxy.asked["GetObject"] == (3 if data == LARGE else 0)
    assert proxy.asked["PutObject"] + proxy.asked["CompleteMultipartUpload"] >= 3


@pytest.mark.slow
@pytest.mark.parametrize("drops", ["If-None-Match", ""])
def test_a_store_without_conditions_is_asked_before(drops: str, proxy: Proxy, bucket: Bucket, tmp_path: Path) -> None:
    """One that passes over the condition, and one that says that it does not know it."""
    path = f"s3://bucket/{tmp_path.name}/a.bin"
    proxy.drops = drops
    proxy.faults = {} if drops else {"PutObject": [501]}
    write(path, SMALL)
    assert not s3.HEEDING
    outputs = Outputs()
    other = path.replace("a.bin", "b.bin")
    with pytest.raises(PatchcliError, match=r"b\.bin: cannot be written: it exists by now"), outputs:
        with outputs.create(other) as file:
            file.write(SMALL)
        bucket.put(other, FOREIGN)
    assert (bucket.got(path), bucket.got(other)) == (SMALL, FOREIGN)


@pytest.mark.slow
def test_an_upload_that_another_program_ends_is_begun_anew(proxy: Proxy, bucket: Bucket, tmp_path: Path) -> None:
    path = f"s3://bucket/{tmp_path.name}/a.bin"
    proxy.faults = {"CompleteMultipartUpload": [404]}
    write(path, LARGE)
    assert bucket.got(path) == LARGE
    assert proxy.asked["CreateMultipartUpload"] == 2
    assert not bucket.uploads(tmp_path.name)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["UploadPart", "CompleteMultipartUpload"])
def test_an_upload_that_fails_is_aborted(fault: str, proxy: Proxy, bucket: Bucket, tmp_path: Path) -> None:
    proxy.faults = {fault: [503] * 20}
    with pytest.raises(OutputError, match=r"the server answers 503.* \(5 attempts\)"):
        write(f"s3://bucket/{tmp_path.name}/a.bin", LARGE)
    assert proxy.asked["AbortMultipartUpload"] == 1
    assert not bucket.uploads(tmp_path.name)
    assert not s3.OPEN_UPLOADS


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_signal_aborts_an_upload(number: signal.Signals, jobs: int, proxy: Proxy, bucket: Bucket, tmp_path: Path) -> None:
    names = [str(write_image(tmp_path / name, gray(6000, 6000)).name) for name in ("a.png", "b.png")]
    proxy.faults = {"UploadPart": ["fine", *["hang"] * 9]}
    command = [sys.executable, "-m", "patchcli", "extract", *names, "-s", "1000", "--remote", "s3", "-j", str(jobs)]
    running = subprocess.Popen([*command, "-d", f"s3://bucket/{tmp_path.name}"], cwd=tmp_path, stderr=subprocess.PIPE)
    assert proxy.hangs.wait(60)
    while len(bucket.uploads(tmp_path.name)) < jobs or proxy.asked["UploadPart"] < (2, 4)[jobs - 1]:
        assert running.poll() is None  # each worker has an upload, and knows of it
        time.sleep(0.05)
    running.send_signal(number)
    assert running.communicate(timeout=60)[1] == b""
    assert running.returncode == -number
    assert not bucket.uploads(tmp_path.name)
    assert not bucket.keys(tmp_path.name)


@pytest.mark.slow
@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [("n" * 1100, "cannot be written: its name has "), ("n" * 400 + "/" + "m" * 700, "use at most 1024")],
)
def test_a_name_that_is_too_long_fails_its_input_alone(
    name: str, sentence: str, bucket: Bucket, tmp_path: Path, patchcli: Run
) -> None:
    folder = f"s3://bucket/{tmp_path.name}"
    data = write_image(tmp_path / "a.png", gray()).read_bytes()
    bucket.put(f"{folder}/in/b.png", data)
    (tmp_path / "boxes.csv").write_text(
        f"input,x,y,width,height,output\na.png,1,2,5,6,{folder}/{name}.png\n{folder}/in/b.png,1,2,5,6,{folder}/b.png\n"
    )
    refused(patchcli("crop", "--remote", "s3", "--boxes", "boxes.csv"), sentence, 1)
    assert bucket.keys(tmp_path.name) == [f"{tmp_path.name}/b.png", f"{tmp_path.name}/in/b.png"]


@pytest.mark.slow
@pytest.mark.parametrize("status", [400, 403])
def test_what_is_refused_of_one_name_fails_its_input_alone(status: int, proxy: Proxy, bucket: Bucket, tmp_path: Path) -> None:
    folder = f"s3://bucket/{tmp_path.name}"
    proxy.only, proxy.faults = "bad.exe", {"PutObject": [status], "CreateMultipartUpload": [status]}
    for data in (SMALL, LARGE):
        with pytest.raises(PatchcliError, match=r"bad\.exe: cannot be written: .*as asked for") as raised:
            write(f"{folder}/bad.exe", data)
        assert not isinstance(raised.value, OutputError)
    write(f"{folder}/good", SMALL)
    assert bucket.keys(tmp_path.name) == [f"{tmp_path.name}/good"]


@pytest.mark.parametrize("status", [400, 403])
def test_what_is_refused_of_all_names_stops_the_run(status: int, proxy: Proxy, bucket: Bucket, tmp_path: Path) -> None:
    proxy.faults = {"PutObject": [status] * 2}
    with pytest.raises(OutputError, match=r"a\.bin: cannot be written: .*as asked for"):
        write(f"s3://bucket/{tmp_path.name}/a.bin", SMALL)
    assert not bucket.keys(tmp_path.name)


@pytest.mark.slow
@pytest.mark.usefixtures("proxy")
def test_no_key_is_left_out(bucket: Bucket, tmp_path: Path, patchcli: Run) -> None:
    folder = f"s3://bucket/{tmp_path.name}/in"
    images = {name: write_image(tmp_path / "x.png", gray(seed=number)).read_bytes() for number, name in enumerate(ODD)}
    for name, data in images.items():
        bucket.put(f"{folder}/{name}", data)
    ran = patchcli("extract", folder, "--remote", "s3", "-s", 8, "-d", "out")
    assert ran.returncode == 1
    faults = [f"{folder}/{name}: its output would have the name of that of {folder}/{ODD[name]}" for name in ODD if ODD[name]]
    said = ran.stderr.decode().splitlines()
    assert all(any(line.startswith(f"patchcli: {fault}") for line in said) for fault in faults)
    made = sorted(str(path.relative_to(tmp_path / "out/bucket")) for path in (tmp_path / "out").rglob("*.npz"))
    assert made == sorted(
        f"{tmp_path.name}/{name}.npz" for name in ("in/a.png", "in/b/c.png", "in/d/e.png", "in/f.png", "up.png")
    )
    assert np.array_equal(np.load(tmp_path / "out/bucket" / tmp_path.name / "in/b/c.png.npz")["patches"][0], gray(seed=1)[:8, :8])


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"", b"x", SMALL, LARGE])
def test_an_object_is_read_with_one_request_for_each_piece(data: bytes, proxy: Proxy, bucket: Bucket, tmp_path: Path) -> None:
    path = f"s3://bucket/{tmp_path.name}/a.bin"
    bucket.put(path, data)
    with files.open_input(path) as file:
        assert file.read() == data
        assert files.stamp(path, file)[1:] == (len(data), bucket.store.info(path)["LastModified"].timestamp() * 10**9)
    assert proxy.asked == {"GetObject": max(1, -(-len(data) // (5 << 20))), **({} if data else {"HeadObject": 1})}


def test_an_object_that_changes_while_it_is_read_is_refused(proxy: Proxy, bucket: Bucket, tmp_path: Path) -> None:
    path = f"s3://bucket/{tmp_path.name}/a.bin"
    bucket.put(path, LARGE)
    proxy.faults = {"GetObject": ["fine", "lost"]}
    proxy.meanwhile = lambda: bucket.put(path, LARGE[::-1])
    with pytest.raises(PatchcliError, match="cannot be read: changed while it was read"):
        files.open_input(path)


@pytest.mark.slow
def test_requests_of_a_file(proxy: Proxy, bucket: Bucket, tmp_path: Path, patchcli: Run) -> None:
    count, folder = 20, f"s3://bucket/{tmp_path.name}"
    for number in range(count):
        bucket.put(f"{folder}/in/{number}.png", write_image(tmp_path / "x.png", gray(seed=number)).read_bytes())
    call = ("extract", f"{folder}/in", "--remote", "s3", "-s", 8, "-d", f"{folder}/out", "--resume")
    assert patchcli(*call).returncode == 0
    assert proxy.asked == {"GetObject": count, "PutObject": count + 1, "HeadObject": 2, "ListObjects": 4}
    proxy.reset()
    assert patchcli(*call).returncode == 0
    assert proxy.asked == {"GetObject": count, "HeadObject": 1, "ListObjects": 3}
    bucket.put(f"{folder}/in/3.png", write_image(tmp_path / "x.png", gray(seed=99)).read_bytes())
    proxy.reset()
    ran = patchcli(*call, "-j", 2, "--report", "-")
    assert [b'"done"' in line for line in ran.stdout.splitlines()].count(True) == 2
    assert proxy.asked["PutObject"] == 1


@pytest.fixture(scope="module")
def passing_to_google() -> Iterator[Proxy]:
    with servers.google("bucket") as address, servers.proxy(address) as proxy:
        yield proxy


@pytest.fixture
def google(passing_to_google: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    for name, value in {**servers.CLEAN, "STORAGE_EMULATOR_HOST": passing_to_google.address}.items():
        monkeypatch.setenv(name, value)
    fsspec.get_filesystem_class("gs").clear_instance_cache()
    with within(World(remote=("gs",))):
        yield passing_to_google
    fsspec.get_filesystem_class("gs").clear_instance_cache()
    passing_to_google.reset()


@pytest.mark.slow
def test_lost_answers_of_google(google: Proxy, tmp_path: Path) -> None:
    path = f"gs://bucket/{tmp_path.name}/a.bin"
    google.faults = {"Upload": ["lost"]}
    write(path, SMALL)
    google.faults = {"GetObject": ["lost", "fine", "lost"]}
    with files.open_input(path) as file:
        assert file.read() == SMALL
    asked = google.asked["Upload"]
    write(path, SMALL)
    assert google.asked["Upload"] == asked
    with pytest.raises(PatchcliError, match=r"a\.bin: cannot be written: it exists by now"):
        write(path, SMALL[::-1])


@pytest.mark.parametrize(("scheme", "names"), [("gs", ["a.png", "b//c.png"]), ("memory", list(ODD))])
def test_no_key_of_another_store_is_left_out(scheme: str, names: list[str], google: Proxy, tmp_path: Path) -> None:
    """The server that stands for Google's cannot hold the others."""
    folder = f"{scheme}://bucket/{tmp_path.name}/in"
    store = fsspec.filesystem(scheme, skip_instance_cache=True)
    for name in names:
        store.pipe_file(f"{folder}/{name}", name.encode())
    with within(World(remote=(scheme,))):
        found = remote.search(folder)
        assert sorted(found) == sorted(f"{folder}/{name}" for name in names)
        for path in found:
            with files.open_input(path) as file:
                assert file.read().decode() == path.removeprefix(f"{folder}/")
    assert scheme == "memory" or google.asked.total()
