"""Tests of image files."""
