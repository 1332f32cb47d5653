"""Tests of jobs and their plans."""
