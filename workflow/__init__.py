"""Turns notebooks into results: runs, comparisons, the report, what is published."""
