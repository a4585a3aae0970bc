"""DRIT++: diverse image-to-image translation via disentangled representations (Lee et al. 2020), as MDMM."""
