"""The functions for ``map``."""
