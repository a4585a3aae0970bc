"""One folder per published architecture: its networks, its losses, its training step, and nothing else."""
