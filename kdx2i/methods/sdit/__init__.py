"""SDIT: scalable and diverse cross-domain image translation (Wang et al. 2019)."""
