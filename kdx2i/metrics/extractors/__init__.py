"""Feature networks by name, their verified weights and the published resizes."""
