"""Resampling of a box, its gradient, and the fit of a box to a template."""
