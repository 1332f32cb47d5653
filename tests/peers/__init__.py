"""Against other programs."""
