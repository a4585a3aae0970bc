"""Translation between StyleGAN features, which the two-class variants of DeepI2I and TransferI2I share."""
