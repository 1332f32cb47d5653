"""Runs from and to a store: what it is asked for each file, and what a second worker gains where the way to it is long."""

from __future__ import annotations

import os
import time
from pathlib import Path

from benchmarks.batches import photographs
from benchmarks.measure import Row, Table, compare
from benchmarks.processes import PROGRAM, process

FILES, DELAY = 250, 0.03  # seconds that a request takes longer than the server does


def run(table: Table, folder: Path, *, quick: bool) -> None:
    """Measure against a real server, with a proxy before it that counts, and that a network's delay is added by."""
    import fsspec

    from tests.helpers import servers

    count = 60 if quick else FILES
    os.environ.update(servers.CLEAN)
    source = photographs(folder / "small", count, 64)
    with servers.s3("bucket") as server, servers.proxy(server) as proxy:
        os.environ["AWS_ENDPOINT_URL"] = proxy.address
        store = fsspec.filesystem("s3", endpoint_url=server, key="testing", secret="testing")  # noqa: S106
        store.put(str(source), "bucket/in", recursive=True)
        targets = iter(range(1000))

        def extract(jobs: int, target: int | None = None) -> float:
            out = f"s3://bucket/{next(targets) if target is None else target}"
            start = time.perf_counter()
            call = ("extract", "s3://bucket/in", "--remote", "s3", "-s", "16", "--resume", "-j", str(jobs), "-d", out)
            process(PROGRAM, *call)
            return time.perf_counter() - start

        for what, allowed in ((f"extract, {count} PNGs of 64x64, requests a file", 3), ("the same resumed, all done", 1)):
            proxy.asked.clear()
            extract(1, 9999)
            asked = sum(proxy.asked.values()) / count
            table.add(Row("requests", what, "allowed", asked, allowed, asked / allowed, 0.0, 1.05))
        proxy.seconds = DELAY
        name = f"extract -j 2, {count} PNGs of 64x64, {DELAY * 1e3:.0f} ms a request"
        two, one = (lambda: extract(2)), (lambda: extract(1))
        table.add(compare("stores", name, "-j 1", two, one, limit=1 / 1.6, seconds=0, least=3))
