"""Data sets that are rendered: sources like any other."""
