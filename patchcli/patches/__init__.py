"""Kernels on patches: arrays in, arrays out."""
