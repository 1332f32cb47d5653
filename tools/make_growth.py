"""Draw ``docs/figures/growth.png``: time against the size of a stack, from the table of ``docs/benchmarks.md``."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE, PICTURE = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "figures" / "growth.png"
ROW = re.compile(r"\| \d+x\d+, patch/stride \d+/\d+ \| ([\d.]+) GB \| ([\d.]+) s \| \d+ MB \| ([\d.]+) s \|")


def main() -> None:
    """Write the picture."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = [tuple(map(float, row)) for row in ROW.findall(PAGE.read_text())]
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for number, what in ((1, "extract"), (2, "merge")):
        axes.loglog([row[0] for row in rows], [row[number] for row in rows], "o-", label=what)
    axes.set(xlabel="stack, GB", ylabel="seconds, whole process", title="Time against stack size")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(PICTURE, dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main()
