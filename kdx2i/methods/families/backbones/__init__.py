"""One architecture on two backbones, BigGAN and StyleGAN, of which the settings choose one."""
