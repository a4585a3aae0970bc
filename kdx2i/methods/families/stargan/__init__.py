"""StarGAN v2 in general: its blocks, objectives and half-steps, on whichever networks."""
