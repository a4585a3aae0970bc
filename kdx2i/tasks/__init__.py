"""Tasks: what a condition is, and what follows from it for every later stage."""
