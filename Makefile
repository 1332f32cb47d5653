PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2

.PHONY: demo test check format samples goldens manual walks seams functions bench bench-large torture dist clean

demo: .venv/demo.stamp
	@mkdir -p demo
	@$(BIN)/patchcli extract -v --no-progress sample_images/noisy.png -s 8 --stride 1 -o demo/noisy.npz --overwrite
	@$(BIN)/python examples/denoise.py demo/noisy.npz demo/clean.npz
	@$(BIN)/patchcli merge -v --no-progress demo/clean.npz -o demo/clean.png --cover demo/cover.png --overwrite
	@$(BIN)/patchcli crop -v sample_images/scene.png --normalized-box 0.0 -0.7 0.8 0.1 --size 400x300 -o demo/crop.png --overwrite
	@echo "Look at demo/clean.png beside sample_images/noisy.png, at demo/cover.png and at demo/crop.png."

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

walks: .venv/demo.stamp
	$(BIN)/python -m tools.walks --write

seams: .venv/peers.stamp
	$(BIN)/python -m tools.make_seam

functions: .venv/peers.stamp
	$(BIN)/python -m tools.make_functions

goldens: .venv/demo.stamp
	$(BIN)/python tools/make_goldens.py

bench: .venv/check.stamp .venv/peers.stamp
	$(BIN)/python -m compileall -q patchcli  # as installing does; a process that may write none would compile all that it imports
	$(BIN)/python -m benchmarks

# images of gigabytes, which take up to 14 GB of disk; ARGS='--only crop,info' measures some rows
bench-large: .venv/check.stamp .venv/peers.stamp
	$(BIN)/python -m compileall -q patchcli
	$(BIN)/python -m benchmarks.large $(ARGS)

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
	@touch $@

# patchify pins numpy < 2, EMPatches opencv, and SAHI an opencv that needs a display, none of which comparing needs
.venv/peers.stamp: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[peers]'
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps patchify empatches sahi shapely opencv-python-headless
	@touch $@

clean:
	rm -rf .venv demo dist torture benchmarks/results .mypy_cache .ruff_cache .pytest_cache .hypothesis
