"""Segmenters, the orders of their labels, and the mean intersection over union."""
