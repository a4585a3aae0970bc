"""Perceptual distances (LPIPS) and the diversity of several outputs of one source."""
