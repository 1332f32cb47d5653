"""Integers and boxes: which patches there are and where; no pixels."""
