"""Other libraries, to compare with. Optional: one that is not installed is left out."""
