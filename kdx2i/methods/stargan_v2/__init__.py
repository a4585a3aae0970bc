"""StarGAN v2 (Choi et al. 2020): the student of the image-to-image tables."""
