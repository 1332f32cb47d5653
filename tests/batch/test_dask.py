"""The same work on a Dask cluster: a real scheduler and two real workers on the loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.helpers import servers
from tests.helpers.loopback import Loopback, wait_for
from tests.helpers.runs import Run, gray, mixed, refused, tree, write_image

if TYPE_CHECKING:
    from pathlib import Path


def test_a_cluster_makes_the_same(patchcli: Run, tmp_path: Path, cluster: Loopback) -> None:
    mixed(tmp_path / "in")
    seen = []
    for out, where in (("o1", ()), ("o2", ("--executor", cluster.address))):
        done = patchcli("extract", "in", "-s", 12, "-d", out, "--edge", "drop", "--report", "-", *where)
        assert done.returncode == 1
        records = [json.loads(line) for line in done.stdout.splitlines()]
        told = [(record["input"], record["status"], record["errors"]) for record in records[:-1]]
        seen.append((tree(tmp_path / out), told, done.stderr))
    assert len(seen[0][0]) == 21
    assert seen[0] == seen[1]
    call = ("merge", "o2", "--trim", "-d", "back", "--executor", cluster.address, "--report", "-", "--compare", "in/{stem}")
    done = patchcli(*call)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [json.loads(line)["compare"]["rmse"] for line in done.stdout.splitlines()[:-1]] == [0] * 21
    assert len(tree(tmp_path / "back")) == 21
    done = patchcli("crop", "in/00.png", "--box", 1, 1, 4, 4, "-o", "c.png", "--executor", cluster.address)
    assert (done.returncode, done.stderr) == (0, b"")
    piped = patchcli("extract", "-", "-s", 4, "-o", "-", "--executor", cluster.address, stdin=(tmp_path / "c.png").read_bytes())
    assert (piped.returncode, piped.stdout[:2]) == (0, b"PK")


@pytest.mark.slow
def test_a_worker_killed_in_mid_run_costs_time_alone(patchcli: Run, tmp_path: Path, cluster: Loopback) -> None:
    (tmp_path / "in").mkdir()
    for number in range(40):
        write_image(tmp_path / "in" / f"{number:02}.png", gray(400, 400, seed=number))
    options = ["-s", "24", "--stride", "3", "-d", "out"]
    command = [sys.executable, "-m", "patchcli", "extract", "in", *options, "--executor", cluster.address]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
    while not list(tmp_path.glob("out/in/*.npz")):
        time.sleep(0.01)
        assert running.poll() is None
    os.kill(cluster.processes[1].pid, signal.SIGKILL)
    _, said = running.communicate(timeout=120)
    assert (running.returncode, said) == (0, b"")
    assert patchcli("extract", "in", *options[:-1], "whole").returncode == 0
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_ctrl_c_ends_at_once(tmp_path: Path, cluster: Loopback) -> None:
    for number in range(40):
        write_image(tmp_path / f"{number:02}.png", gray(400, 400, seed=number))
    arguments = ["extract", ".", "-s", "24", "--stride", "3", "-d", "out", "--executor", cluster.address]
    running = subprocess.Popen([sys.executable, "-m", "patchcli", *arguments], cwd=tmp_path, stderr=subprocess.PIPE)
    while not list(tmp_path.glob("out/*.npz")):
        time.sleep(0.01)
    begun = time.monotonic()
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=10)
    assert time.monotonic() - begun < 1
    assert (running.returncode, said) == (-signal.SIGINT, b"")


@pytest.mark.slow
def test_clusters_that_are_not_there(patchcli: Run, tmp_path: Path, loopback: Loopback) -> None:
    write_image(tmp_path / "a.png", gray())
    call = ["extract", "a.png", "-s", 4, "-o", "a.npz", "--executor"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        refused(patchcli(*call, nobody), f"--executor {nobody}: no scheduler answers")
    for address in ("nonsense://x", "tcp://127.0.0.1", "tcp://127.0.0.1:99999", "tcp://:8786", "tcp://127.0.0.1:x"):
        refused(patchcli(*call, address), f"--executor is {address!r}; write tcp://HOST:PORT or tls://HOST:PORT")
    port = servers.free_port()
    with servers.process(sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port), port=port) as other:
        address = other.replace("http://", "tcp://")
        refused(patchcli(*call, address), f"--executor {address}: no scheduler answers: what is there does not speak as one")
    wait_for(loopback, 0)
    refused(patchcli(*call, loopback.address), "has no workers")
    refused(patchcli(*call, loopback.address, "-j", 2), "use only one of --executor and --jobs")
    assert not (tmp_path / "a.npz").exists()


@pytest.mark.slow
def test_a_scheduler_that_goes_away_stops_the_run(tmp_path: Path, cluster: Loopback) -> None:
    for number in range(40):
        write_image(tmp_path / f"{number:02}.png", gray(400, 400, seed=number))
    arguments = ["extract", ".", "-s", "24", "--stride", "3", "-d", "out", "--executor", cluster.address, "--report", "r"]
    running = subprocess.Popen([sys.executable, "-m", "patchcli", *arguments], cwd=tmp_path, stderr=subprocess.PIPE)
    while not list(tmp_path.glob("out/*.npz")):
        time.sleep(0.01)
    cluster.processes[0].kill()
    _, said = running.communicate(timeout=60)
    assert said.decode() == f"patchcli: --executor {cluster.address}: the scheduler went away\n"
    assert running.returncode == 3
    *_, record, last = map(json.loads, (tmp_path / "r").read_text().splitlines())
    assert (record["status"], last["summary"]["failed"]) == ("failed", 1)
    assert last["summary"]["left"] > 0
