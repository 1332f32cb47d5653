"""Image files: their formats, decoded and encoded."""
