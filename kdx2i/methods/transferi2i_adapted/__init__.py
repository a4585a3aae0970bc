"""TransferI2I* of Appendix B.3: TransferI2I rebuilt to resemble StarGAN v2."""
