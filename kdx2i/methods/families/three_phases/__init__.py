"""The three phases of TransferI2I: the GAN learns the data set, the adaptor the GAN, then the translation."""
