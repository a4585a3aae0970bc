"""DAMSM of AttnGAN: a text and an image encoder that learn together which caption belongs to which image."""
