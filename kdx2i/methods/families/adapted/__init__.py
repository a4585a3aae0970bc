"""The adapted baselines of Appendix B.3: the form of StarGAN v2, made from the networks of a StyleGAN2 teacher."""
