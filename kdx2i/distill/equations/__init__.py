"""The paper's numbered equations, one function each.

Eqs. (1) to (5) of section 3.2 are in `i2i.py`, eqs. (6) to (8) of section 3.3 in `x2i.py`. Features, images and logits
come in and losses go out: networks, hint layers and optimisers are not here.
"""
