"""The paper's numbered equations, one function each: eqs. (1) to (5) of section 3.2 in `i2i.py`.

Eqs. (6) to (8) of section 3.3 (text, speech and label maps) belong beside it, in `x2i.py`; nothing distils for those
tasks yet. Features, images and logits come in and losses go out: networks, hint layers and optimisers are not here.
"""
