"""SSA-GAN: text to image generation with semantic-spatial aware GAN (Liao et al. 2022)."""
