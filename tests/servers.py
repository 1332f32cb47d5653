"""Real servers on the loopback: one that speaks HTTP, with faults; one that speaks S3; one that speaks Google Cloud Storage."""

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
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

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

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        do_HEAD = do_GET  # noqa: N815  the base class looks for this name

        def log_message(self, *_: Any) -> None:
            pass

        def handle(self) -> None:
            with contextlib.suppress(OSError, ValueError):  # the other side went, or was sent, away
                super().handle()

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().finish()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        served.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield served
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
