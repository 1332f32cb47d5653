"""Tests of crops."""
