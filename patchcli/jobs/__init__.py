"""One input, one output: planned from headers, then run."""
