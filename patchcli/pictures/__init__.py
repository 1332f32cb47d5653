"""Pictures to look at: arrays in, RGB pixels out; no file is opened here."""
