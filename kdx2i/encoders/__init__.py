"""Pretrained encoders of text and speech."""
