PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2
DO := $(BIN)/patchcli
LEVEL := --func patchcli.functions:normalize --arg mean=128 --arg deviation=45

.PHONY: demo tutorial test check format samples goldens manual walks figures bench bench-large bench-against torture dist clean

demo: .venv/demo.stamp
	@mkdir -p demo
	@echo "Cut into all patches of 8x8, and merged again:"
	@$(DO) extract sample_images/noisy.png -s 8 --stride 1 -o demo/noisy.npz -v --no-progress --overwrite
	@$(DO) merge demo/noisy.npz -o demo/noisy-back.png --compare sample_images/noisy.png -v --no-progress --overwrite
	@$(DO) preview --triple sample_images/noisy.png demo/noisy.npz -o demo/triple.png --overwrite > /dev/null
	@echo "Every patch denoised by a script, and merged:"
	@$(BIN)/python examples/denoise.py demo/noisy.npz demo/clean.npz
	@$(DO) merge demo/clean.npz -o demo/clean.png --cover demo/cover.png --compare sample_images/scene.png -v --no-progress --overwrite
	@$(DO) preview --compare sample_images/scene.png demo/clean.png -o demo/denoised.png --overwrite > /dev/null
	@echo "Patches of 64x64 brought to one contrast, each by itself: side by side, and overlapping under a window:"
	@$(DO) map sample_images/scene.png -s 64 $(LEVEL) -o demo/apart.png -v --no-progress --overwrite
	@$(DO) map sample_images/scene.png -s 64 --overlap 50% --window hann $(LEVEL) -o demo/windowed.png -v --no-progress --overwrite
	@$(DO) preview --compare demo/apart.png demo/windowed.png -o demo/seams.png --overwrite > /dev/null
	@$(DO) preview demo/noisy.npz -o demo/sheet.png --overwrite
	@$(DO) preview sample_images/scene.png --grid -s 64 --overlap 25% --margin 8 -o demo/grid.png --overwrite
	@echo "Look, in demo/, at triple.png (source, central patch, reconstruction), denoised.png, seams.png (before and after),"
	@echo "sheet.png (some of the patches), grid.png (where patches lie) and cover.png (how many on each pixel)."

# follows docs/tutorial.md to the letter, in a clean clone of what is committed
tutorial:
	$(PYTHON) -m tools.pages docs/tutorial.md

# all but what takes long; make check runs everything
test: .venv/test.stamp
	$(BIN)/python -m pytest -q -n $(JOBS) -m "not slow"

check: .venv/check.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n $(JOBS)

format: .venv/check.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

samples: .venv/demo.stamp
	$(BIN)/python tools/make_samples.py

manual: .venv/demo.stamp
	$(BIN)/python tools/make_manual.py
	$(BIN)/python tools/make_reference.py

walks: .venv/demo.stamp
	$(BIN)/python -m tools.walks --write

# every picture in docs/ and README.md, with the tables that belong to some of them; NAMES='grid cover' draws some
figures: .venv/peers.stamp
	$(BIN)/python -m tools.make_figures $(NAMES)

goldens: .venv/demo.stamp
	$(BIN)/python tools/make_goldens.py

bench: .venv/check.stamp .venv/peers.stamp
	$(BIN)/python -m compileall -q patchcli  # as installing does; a process that may write none would compile all that it imports
	$(BIN)/python -m benchmarks

# images of gigabytes, which take up to 14 GB of disk; ARGS='--only crop,info' measures some rows
bench-large: .venv/check.stamp .venv/peers.stamp
	$(BIN)/python -m compileall -q patchcli
	$(BIN)/python -m benchmarks.large $(ARGS)

# the rows of make bench here against another checkout, in turn: TREE=../before
bench-against: .venv/check.stamp .venv/peers.stamp
	$(BIN)/python -m compileall -q patchcli $(TREE)/patchcli
	$(BIN)/python -m benchmarks.against $(TREE) $(ARGS)

torture: .venv/check.stamp
	$(BIN)/python -m tools.torture

# the wheel and the sdist, each installed into an empty environment and tried
dist: .venv/check.stamp
	$(BIN)/python tools/try_dist.py

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo.stamp: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

.venv/test.stamp: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test]'
	@touch $@

.venv/check.stamp: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[check]'
	@command -v cc >/dev/null || $(BIN)/python -m pip install -q --disable-pip-version-check ziglang  # tests/helpers/breaking.c
	@command -v jq >/dev/null || $(BIN)/python -m pip install -q --disable-pip-version-check jq  # its library: tests/helpers/jq.py
	@touch $@

# patchify pins numpy < 2, EMPatches opencv, and SAHI an opencv that needs a display, none of which comparing needs
.venv/peers.stamp: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[peers]'
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps patchify empatches sahi shapely opencv-python-headless
	@touch $@

clean:
	rm -rf .venv demo dist torture benchmarks/results .mypy_cache .ruff_cache .pytest_cache .hypothesis
