"""Patches at rest: the stack file."""
