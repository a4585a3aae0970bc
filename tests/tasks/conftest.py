"""Small networks with fixed random weights, as fixtures."""

from random_features import extractor, images, network, one_thread, random_features

__all__ = ["extractor", "images", "network", "one_thread", "random_features"]
