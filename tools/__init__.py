"""Scripts that make the files which the project ships."""
