"""Translation with a BigGAN, which the many-class variants of DeepI2I and TransferI2I share."""
