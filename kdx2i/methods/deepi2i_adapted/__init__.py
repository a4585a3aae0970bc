"""DeepI2I* of Appendix B.3: DeepI2I rebuilt to resemble StarGAN v2."""
