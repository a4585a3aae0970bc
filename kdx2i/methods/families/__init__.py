"""Families: what several architectures build on. A family imports no architecture."""
