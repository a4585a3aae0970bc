"""Metrics: feature extractors, Frechet and kernel distances, classifier scores, and their controls.

Importing this package imports no torch, so that `kdx2i.metrics.settings` can be read while the workflow is
parsed; its other modules import torch.
"""
