"""The report: executed notebooks in, one HTML file and one PDF out. Never imports torch."""
