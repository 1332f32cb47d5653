"""Break lines of kernels and readers, one at a time, and see a test turn red: `python -m tools.break_lines`.

Each line is broken in a copy of the tree, in which just the test that guards it is run. Prints a row of a table for each, and
ends with 1 if a test stays green.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "demo", "results")

# Tests of tests/properties/test_unguarded.py, and what turns each red: module of patchcli, exact text, and what replaces it.
BROKEN = {
    "test_min_and_max_in_many_blocks": [
        ("patches/merge_streaming", "sums[kept:] = folder.combine.blank", "sums[kept:] = 0"),
        ("patches/reducers", "Combine(np.minimum, _range(dtype)[1])", "Combine(np.minimum, _range(dtype)[1] - 1)"),
        ("patches/overlap_add", "count * width), combine.blank, dtype)", "count * width), 0, dtype)"),
    ],
    "test_min_and_max_of_a_large_image": [
        ("patches/overlap_add", "strip[:, :, : one.first] = blank", "strip[:, :, : one.first] = 0")
    ],
    "test_weights_of_zero_beside_real_ones_do_not_count": [("patches/windows", "NOTHING = 2.0**-60", "NOTHING = 2.0**-40")],
    "test_weights_count_as_they_are_down_to_the_least": [
        ("patches/windows", "np.maximum(dense, NOTHING", "np.add(dense, NOTHING")
    ],
    "test_a_pixel_whose_only_weight_is_zero_keeps_its_value": [("geometry/cover", "[counts == 0] = 1", "[counts < 1e-9] = 1")],
    "test_weights_of_more_patches_than_are_added_at_once": [
        ("patches/reducers", "first + WINDOWS_TOGETHER]", "first + WINDOWS_TOGETHER - 1]")
    ],
    "test_windows_of_narrow_integers_are_exact": [
        ("patches/overlap_add", "np.float32 if dtype.itemsize == 1 or", "np.float32 if dtype.itemsize <= 2 or"),
        ("patches/overlap_add", "MOST_TOGETHER = 8", "MOST_TOGETHER = 64"),
    ],
    "test_weighted_values_near_the_end_of_float32": [
        ("patches/overlap_add", "None if weights is None else weights.astype(dtype)", "None")
    ],
    "test_a_window_barely_past_a_tie": [("patches/normalize", "if whole and exact and not weighted", "if whole and exact")],
    "test_means_of_hundreds_of_large_values_are_exact": [
        ("geometry/cover", "self.rows.max() * self.columns.max()", "self.rows.max()"),
        ("patches/normalize", "np.finfo(floating).nmant", "(np.finfo(floating).nmant + 3)"),
        ("patches/overlap_add", "self.combine.dtype(self.dtype, deep * len(plan))", "self.combine.dtype(self.dtype, deep)"),
    ],
    "test_more_patches_on_a_line_than_16_bits_add_up": [
        ("patches/overlap_add", "-(-self.grid.patch[0] // step)", "self.grid.patch[0] // step")
    ],
    "test_float_sums_do_not_depend_on_parts": [
        ("patches/overlap_add", "range((lines - 1) // step * step, -1, -step)", "range(0, lines, step)")
    ],
    "test_sums_are_saturated_at_both_ends": [
        ("patches/normalize", "total[below], total[above] = low, high", "total[above] = high"),
        ("patches/normalize", "if out.dtype == self.dtype and self.divisor is not None:", "if out.dtype == self.dtype:"),
    ],
    "test_allowed_nan_is_refused_where_integers_come_out": [("patches/normalize", ' or target.kind != "f"):', "):")],
    "test_nan_anywhere_on_a_pixel_spoils_its_median": [("patches/merge_ranked", "middle[0][lost] = np.nan", "pass")],
    "test_origins_in_a_narrow_dtype": [("geometry/placement", "origins.astype(np.int64, copy=False)", "origins")],
    "test_parts_of_a_stack_of_several_pieces": [
        ("patches/extract", "min(stop - block.first, block.count)", "min(stop, block.count)"),
        ("patches/extract", "index[first : first + step]", "index[first : first + step - 1]"),
    ],
    "test_view_from_an_offset": [("patches/extract", "(row, column), (dy, dx) =", "(column, row), (dy, dx) =")],
    "test_choosing_among_very_many_patches": [
        ("patches/select", "grid.count, CANDIDATES_TOGETHER)", "grid.count, CANDIDATES_TOGETHER + 1)")
    ],
    "test_even_starts_are_rounded_as_fractions": [("geometry/axis", " & (nearest % 2 == 1)", "")],
    "test_truth_is_no_number_of_pixels": [("geometry/grid", " and not isinstance(v, bool) for v in both", " for v in both")],
    "test_large_crops_in_parts": [
        ("cropping/gather", "rows.pixel[one.crops, one.span]", "rows.pixel[one.crops, : one.span.stop - one.span.start]"),
        ("cropping/matmul", "out[first - start : last - start])", "out[first:last])"),
    ],
    "test_nearest_pixels_far_apart_and_in_parts": [("cropping/gather", "* width + places", "* height + places")],
    "test_a_pixel_without_weight_does_not_count": [("cropping/gather", "if wild and not all_finite(total):", "if False:")],
    "test_gradient_of_an_image_in_several_bands": [("cropping/matmul", "@ lines[first:last]", "@ lines[: last - first]")],
    "test_lanczos_at_a_step_of_one_pixel": [("cropping/taps", "step[..., None] > 1", "step[..., None] >= 1")],
    "test_an_axis_of_one_pixel_has_no_scale": [("cropping/taps", "if span.align_corners and span.length == 1:", "if False:")],
    "test_a_directory_that_lies": [
        ("stacks/npz", "return self._read_deflated(one) == 0", "return self._left == 0"),
        ("stacks/npz", "if info.file_size > info.compress_size * MAX_DEFLATE_RATIO:", "if False:"),
        ("stacks/npz", "if end > archive.start_dir:", "if False:"),
        ("stacks/npz", "self._file.read(min(READ_BYTES, self._left))", "self._file.read(READ_BYTES)"),
    ],
    "test_text_of_either_byte_order_up_to_a_length": [("stacks/npz", " or self.dtype.itemsize > MAX_TEXT", "")],
    "test_pieces_of_arrays_in_either_order": [
        ("stacks/npz", "whole[len(whole) - left : len(whole) - left + take]", "whole[:take]")
    ],
    "test_bad_numbers_of_shards": [("stacks/header", "if number >= count:", "if number > count:")],
}


def pytest(folder: Path, tests: list[str]) -> int:
    """Run tests of a copy of the tree; 0 where all are green, 1 where one is red."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False).returncode


def turns_red(folder: Path, test: str, module: str, old: str, new: str) -> bool:
    """Whether a test turns red where ``old`` is replaced; the copy is whole again afterwards."""
    path = folder / "patchcli" / f"{module}.py"
    text = path.read_text(encoding="utf-8")
    if text.count(old) != 1:
        sys.exit(f"patchcli/{module}.py has {old!r} {text.count(old)} times; expected once")
    path.write_text(text.replace(old, new), encoding="utf-8")
    try:
        return pytest(folder, [test]) == 1
    finally:
        path.write_text(text, encoding="utf-8")


def main() -> None:
    """Break every line of the table."""
    tests = {name: f"tests/properties/test_unguarded.py::{name}" for name in BROKEN}
    all_red = True
    with tempfile.TemporaryDirectory() as made:
        folder = Path(shutil.copytree(ROOT, Path(made) / "copy", ignore=LEFT_OUT))
        if pytest(folder, list(tests.values())):
            sys.exit("a test of the table is missing, or red where nothing is broken")
        print("| Broken | Test | |\n|---|---|---|")
        for name, module, old, new in ((name, *line) for name, lines in BROKEN.items() for line in lines):
            red = turns_red(folder, tests[name], module, old, new)
            print(f"| {module}.py: `{old}` became `{new}` | {name} | {'red' if red else 'green'} |", flush=True)
            all_red = all_red and red
    sys.exit(not all_red)


if __name__ == "__main__":
    main()
