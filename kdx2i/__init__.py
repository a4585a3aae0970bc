"""kdx2i: reproduce "Distilling GANs with style-mixed triplets for X2I translation with limited data".

Importing this package imports no torch: Snakemake parses the workflow with it many times.
"""

__version__ = "0.1.0"
