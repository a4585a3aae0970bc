"""Parity with the official networks and losses, driven by fixtures (see harness.py)."""
