"""Tests of the teacher: networks, training and the import of official weights."""
