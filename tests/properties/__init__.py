"""What holds over everything."""
