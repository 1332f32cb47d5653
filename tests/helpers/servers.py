"""Real servers on the loopback: HTTP, with faults; S3; Google Cloud Storage; and a proxy before them, with faults of its own."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLEAN = {
    "NO_PROXY": "127.0.0.1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_GCE_CHECK": "true",
}


class Web:
    """What an HTTP server holds, what goes wrong with it, and what it was asked.

    Attributes:
        files: bytes by path, without the query.
        faults: by path, what becomes of each request for it, the last of them for good: ``"fine"``, a status, ``"reset"``,
            ``"cut"``, ``"slow"``, ``"hang"`` or ``"round"`` (sent to itself).
        asked: how often each path was asked for.
        changed: what all files say of when they were changed; None says nothing.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[str | int]] = {}
        self.asked: Counter[str] = Counter()
        self.address = ""
        self.changed: str | None = "Tue, 03 Mar 2026 04:05:06 GMT"

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        """Answer a GET or HEAD, well or as the faults say."""
        path = request.path.partition("?")[0]
        faults = self.faults.get(path, ["fine"])
        fault = faults[min(self.asked[path], len(faults) - 1)]
        self.asked[path] += 1
        if path not in self.files:
            fault = 404
        if isinstance(fault, int):
            request.send_error(fault)
            return
        body = self.files[path]
        if fault == "reset":
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.connection.close()
            return
        if fault == "round":
            request.send_response(302)
            request.send_header("Location", path)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if fault == "hang":
            time.sleep(3)
            return
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        if self.changed is not None:
            request.send_header("Last-Modified", self.changed)
        request.send_header("ETag", '"1"')
        request.end_headers()
        if request.command == "HEAD":
            return
        request.wfile.write(body[: len(body) // 2])
        if fault == "cut":
            return
        if fault == "slow":
            time.sleep(1)
        request.wfile.write(body[len(body) // 2 :])


@contextlib.contextmanager
def web() -> Iterator[Web]:
    """An HTTP server."""
    served = Web()

    class Handler(_Quiet):
        def do_GET(self) -> None:
            served.answer(self)

        do_HEAD = do_GET  # noqa: N815  the base class looks for this name

    with _served(Handler) as served.address:
        yield served


KINDS = {  # of what is asked of S3 and Google: a method and what the address holds; the first that fits
    "UploadPart": ("PUT", "partNumber="),
    "PutObject": ("PUT", "/"),
    "Upload": ("POST", "uploadType=multipart"),
    "CreateMultipartUpload": ("POST", "?uploads"),
    "CompleteMultipartUpload": ("POST", "uploadId="),
    "AbortMultipartUpload": ("DELETE", "uploadId="),
    "DeleteObject": ("DELETE", "/"),
    "ListObjects": ("GET", "list-type=2"),
    "HeadObject": ("HEAD", "/"),
    "GetObject": ("GET", "/"),
}
CODES = {
    400: "InvalidArgument",
    403: "AccessDenied",
    404: "NoSuchUpload",
    409: "ConditionalRequestConflict",
    501: "NotImplemented",
    503: "SlowDown",
}


class Proxy:
    """What passes through a proxy on its way to a server, and what goes wrong with it.

    Attributes:
        address: of the proxy.
        asked: how often each kind of request came, by its name in `KINDS`.
        faults: by kind, what becomes of one request after the other: ``"fine"``; ``"lost"``, done and its answer lost;
            ``"hang"``, never answered; a status, which the proxy answers itself. Those after the last are fine.
        only: what the address of a request that goes wrong holds.
        meanwhile: called when the first request goes wrong, before that.
        drops: a header that is not passed on.
        seconds: how long each request takes besides.
        hangs: set once a request hangs.
    """

    def __init__(self, address: str, server: str) -> None:
        self.address, self.server = address, server
        self.over = threading.Event()
        self.reset()

    def reset(self) -> None:
        """Nothing came so far, and nothing goes wrong."""
        self.asked: Counter[str] = Counter()
        self.faults: dict[str, list[str | int]] = {}
        self.only = self.drops = ""
        self.meanwhile: Callable[[], None] = lambda: None
        self.seconds = 0.0
        self.hangs = threading.Event()

    def fault_of(self, request: http.server.BaseHTTPRequestHandler) -> str | int:
        """Count a request; what is to become of it."""
        asked = (name for name, (method, part) in KINDS.items() if method == request.command and part in request.path)
        kind = next(asked, request.command)
        self.asked[kind] += 1
        faults = self.faults.get(kind)
        if not faults or self.only not in request.path:
            return "fine"
        fault = faults.pop(0)
        if fault != "fine":
            meanwhile, self.meanwhile = self.meanwhile, lambda: None
            meanwhile()
        return fault

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        """Pass a request on and its answer back, or do what is to go wrong."""
        body = _body_of(request)
        fault = self.fault_of(request)
        time.sleep(self.seconds)
        if fault == "hang":
            self.hangs.set()
            self.over.wait()
            request.close_connection = True
            return
        if isinstance(fault, int):
            text = f"<Error><Code>{CODES[fault]}</Code><Message>as asked for</Message></Error>".encode()
            _send(request, fault, [("Content-Type", "application/xml")], text)
            return
        host = self.server.partition("://")[2]
        passed = http.client.HTTPConnection(host)
        dropped = ("expect", "connection", "transfer-encoding", "content-length", self.drops.lower())
        headers = {name: value for name, value in request.headers.items() if name.lower() not in dropped}
        passed.request(request.command, request.path, body, headers)
        told = passed.getresponse()
        data = told.read()
        passed.close()
        if fault == "lost":
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.close_connection = True
            request.connection.close()
            return
        _send(request, told.status, told.getheaders(), data)


def _body_of(request: http.server.BaseHTTPRequestHandler) -> bytes:
    """What a request sends, of a known length or in chunks."""
    if "chunked" not in request.headers.get("Transfer-Encoding", ""):
        return request.rfile.read(int(request.headers.get("Content-Length", 0)))
    chunks = []
    while size := int(request.rfile.readline().partition(b";")[0], 16):
        chunks.append(request.rfile.read(size))
        request.rfile.readline()
    while request.rfile.readline().strip():
        pass
    return b"".join(chunks)


def _send(request: http.server.BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
    """Answer a request whose connection stays."""
    request.send_response_only(status)
    of_a_connection = ("connection", "transfer-encoding", *(("content-length",) if request.command != "HEAD" else ()))
    for name, value in headers:
        if name.lower() not in of_a_connection:
            request.send_header(name, value)
    if request.command != "HEAD":
        request.send_header("Content-Length", str(len(data)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(data)


class _Quiet(http.server.BaseHTTPRequestHandler):
    """Says nothing, of connections that break neither."""

    def log_message(self, *_: Any) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # the other side went, or was sent, away
            super().handle()

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()


@contextlib.contextmanager
def proxy(server: str) -> Iterator[Proxy]:
    """A proxy before the server of an address, with connections that are kept, as real servers keep them."""

    class Handler(_Quiet):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            passing.answer(self)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815  the base class looks for these names

    with _served(Handler) as address:
        passing = Proxy(address, server)
        try:
            yield passing
        finally:
            passing.over.set()


@contextlib.contextmanager
def _served(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server of this process; its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextlib.contextmanager
def process(*command: str, port: int) -> Iterator[str]:
    """A server in a process of its own, once it answers; its address."""
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **CLEAN})
        try:
            _wait(server, port)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    last = time.monotonic() + 60
    while time.monotonic() < last and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise RuntimeError("the server does not answer")


@contextlib.contextmanager
def s3(*buckets: str) -> Iterator[str]:
    """A server that speaks S3; its address."""
    port = free_port()
    with process(_script("moto_server"), "-H", "127.0.0.1", "-p", str(port), port=port) as address:
        for bucket in buckets:
            asking = http.client.HTTPConnection("127.0.0.1", port)
            asking.request("PUT", f"/{bucket}", headers={"Authorization": "AWS testing:x"})
            assert asking.getresponse().status == HTTPStatus.OK
            asking.close()
        yield address


@contextlib.contextmanager
def google(bucket: str) -> Iterator[str]:
    """A server that speaks Google Cloud Storage; its address."""
    port = free_port()
    options = ("start", "--host=127.0.0.1", f"--port={port}", "--in-memory", f"--default-bucket={bucket}")
    with process(_script("gcp-storage-emulator"), *options, port=port) as address:
        yield address


def _script(name: str) -> str:
    """A command that is installed beside this Python."""
    beside = os.path.join(os.path.dirname(sys.executable), name)
    found = beside if os.path.exists(beside) else shutil.which(name)
    assert found is not None, f"{name} is not installed"
    return found
