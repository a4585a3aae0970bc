"""Datasets: the embedded open emoji pack, published archives, splits and the images that training reads.

`pack`, `svg` and `manifest` read the open data; `archive` and `readers` read any source; `sampling` and
`split` deal images to roles and write `data/<dataset>/`; `conditions` holds captions, speech and label maps.
`images` and `conditions.reading` alone import torch.
"""
