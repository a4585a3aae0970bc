"""DeepI2I: deep hierarchical image-to-image translation by transferring from GANs (Wang et al. 2020)."""
