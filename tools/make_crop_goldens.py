"""Write PyTorch's crops and their gradients, for machines without it. A golden file, once published, is never written again."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

FOLDER = Path(__file__).parent.parent / "tests" / "golden" / "crop"
CASES = 8


def main() -> None:
    """Write what is missing; say what is there already."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    words = itertools.product(("nearest", "bilinear", "bicubic"), ("zeros", "border", "reflection"), ("aligned", "free"))
    for seed, (how, outside, align) in enumerate(words):
        path = FOLDER / f"{how}_{outside}_{align}.npz"
        if path.exists():
            print(f"{path.name} exists and stays as it is", file=sys.stderr)
            continue
        rng = np.random.Generator(np.random.PCG64(seed))
        held: dict[str, Any] = {"box": [], "to_box": []}
        for number in range(CASES):
            sides = rng.integers(1, 12, 4)
            image = torch.from_numpy(rng.standard_normal((sides[0], sides[1], 2))).requires_grad_()
            corners = rng.uniform(-1, 1, 4) if number < 2 else rng.uniform(-3, 3, 4) if number < 5 else rng.integers(-6, 7, 4) / 4
            corners[2:] += (corners[:2] == corners[2:]) * 0.5
            box = torch.from_numpy(corners).requires_grad_()
            towards = torch.from_numpy(rng.standard_normal((sides[2], sides[3], 2)))
            nothing = torch.zeros((), dtype=torch.float64)
            x0, y0, x1, y1 = box
            theta = torch.stack([(x1 - x0) / 2, nothing, (x1 + x0) / 2, nothing, (y1 - y0) / 2, (y1 + y0) / 2]).reshape(1, 2, 3)
            flow = functional.affine_grid(theta, [1, 2, *towards.shape[:2]], align_corners=align == "aligned")
            options: Any = {"mode": how, "padding_mode": outside, "align_corners": align == "aligned"}
            crop = functional.grid_sample(image.permute(2, 0, 1)[None], flow, **options)[0].permute(1, 2, 0)
            torch.autograd.backward((crop * towards).sum())
            held["box"].append(corners)
            held["to_box"].append(np.zeros(4) if box.grad is None else np.asarray(box.grad))
            for name, value in (
                ("image", image.detach()),
                ("towards", towards),
                ("crop", crop.detach()),
                ("to_image", image.grad),
            ):
                held[f"{name}{number}"] = np.asarray(value)
        np.savez(path, **held)


if __name__ == "__main__":
    main()
