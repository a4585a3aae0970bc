"""Frechet and kernel distances of feature sets, pooled and by class, and their errors."""
