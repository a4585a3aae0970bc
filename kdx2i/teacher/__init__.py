"""The teacher: StyleGAN2, its style-mixed triplets, safe import of official weights, training."""
