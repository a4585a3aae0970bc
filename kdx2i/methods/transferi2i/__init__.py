"""TransferI2I (Wang et al. 2021): fine-tuned GAN, self-initialised adaptor, auxiliary GAN."""
