"""Encoders of conditions, trained before the models that are conditioned on them, and what was published of them."""
