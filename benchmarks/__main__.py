"""``python -m benchmarks [--quick] [--only PART,...]``: one run, one table, a JSON file and a plot beside it."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import batches, crops, functions, kernels, processes, stores
from benchmarks.measure import HEAD, Table, line, machine
from benchmarks.peers import optional

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, no stack above 2 GB")
    parser.add_argument("--only", default="kernels,functions,crops,fits,processes,batches,stores,growth", help="parts to run")
    parser.add_argument("--folder", help="where the large files go; default: a temporary folder")
    options = parser.parse_args()
    parts = options.only.split(",")
    table, points = Table(), []
    print(machine(), "", HEAD, sep="\n", flush=True)
    for part, module in (("kernels", kernels), ("functions", functions), ("crops", crops)):
        if part in parts:
            module.run(table, quick=options.quick)
    if "fits" in parts:
        crops.fits(quick=options.quick)
    with_files = {"processes": processes.run, "batches": batches.run, "stores": stores.run, "growth": processes.growth}
    for part, run in with_files.items():
        if part in parts:
            with tempfile.TemporaryDirectory(dir=options.folder) as name:
                points = run(table, Path(name), quick=options.quick) or []
    RESULTS.mkdir(exist_ok=True)
    held = {"machine": machine(), **table.as_json(), "growth": points}
    (RESULTS / "bench.json").write_text(json.dumps(held, indent=1))
    (RESULTS / "bench.md").write_text("\n".join([machine(), "", HEAD, *map(line, table.rows)]) + "\n")
    over = [row for row in table.rows if row.verdict == "over"]
    print(f"\n{len(table.rows)} rows, {len(over)} over their limit; {RESULTS.name}/bench.json, bench.md, growth.png")
    for row in over:
        print(line(row))
    if points:
        plot(points)


def plot(points: list[dict[str, Any]]) -> None:
    """Time against stack size."""
    if optional("matplotlib") is None:
        print("not plotted: matplotlib is not installed")
        return
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    sizes = [point["bytes"] / 1e9 for point in points]
    for what in ("extract", "merge"):
        axes.loglog(sizes, [point[f"{what}_s"] for point in points], "o-", label=what)
    axes.set(xlabel="stack, GB", ylabel="seconds, whole process", title="Time against stack size")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(RESULTS / "growth.png", dpi=120)


if __name__ == "__main__":
    main()
