"""Where bytes live, and how a file comes to exist under its name."""
