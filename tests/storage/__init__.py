"""Tests of files and stores."""
