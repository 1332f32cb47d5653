"""Commands through real processes."""
