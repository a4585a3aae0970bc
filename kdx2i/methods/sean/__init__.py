"""SEAN: image synthesis with semantic region-adaptive normalization (Zhu et al. 2020), the student for label maps."""
