"""The command line: all of Click, and the one place where errors end."""
