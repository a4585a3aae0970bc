"""The report: results of a preset, or of committed references, as one HTML file that loads nothing from outside."""
