"""How much memory there is for a run that is about to start."""

from __future__ import annotations

import re

from patchcli.threads import CGROUPS, system_file

MEMINFO, CGROUP = "/proc/meminfo", "/proc/self/cgroup"


def available() -> int | None:
    """Bytes that can be used without swapping, on this machine and in this container; None where the system does not tell."""
    known = [number for number in (_of_machine(), _of_container()) if number is not None]
    return min(known, default=None)


def _of_machine() -> int | None:
    found = re.search(r"^MemAvailable: *(\d+) kB", system_file(MEMINFO), re.MULTILINE)
    return int(found[1]) << 10 if found else None


def _of_container() -> int | None:
    """What a control group (https://docs.kernel.org/admin-guide/cgroup-v2.html) leaves; its file cache counts as free."""
    own = re.search(r"^0::(/.*)$", system_file(CGROUP), re.MULTILINE)
    folder = CGROUPS + (own[1].rstrip("/") if own else "")
    most, used = system_file(f"{folder}/memory.max").strip(), system_file(f"{folder}/memory.current").strip()
    if not (most.isdigit() and used.isdigit()):
        return None
    cached = re.search(r"^inactive_file (\d+)$", system_file(f"{folder}/memory.stat"), re.MULTILINE)
    return max(0, int(most) - int(used) + (int(cached[1]) if cached else 0))
