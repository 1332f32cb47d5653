"""Everything that is claimed of speed, measured pair by pair in one run: ``python -m benchmarks``."""
