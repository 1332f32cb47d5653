"""Tests: one file a module, slow references beside them."""
