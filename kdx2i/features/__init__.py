"""The feature network of the open drawings: its recipe, its training images, its training."""
