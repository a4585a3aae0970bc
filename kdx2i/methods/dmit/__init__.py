"""DMIT: multi-mapping image-to-image translation via learning disentanglement (Yu et al. 2019)."""
