"""Two GPUs that are none: the `sitecustomize` of a process in which PyTorch is told that it sees two."""

TWO = """
import os
import torch
torch.cuda.device_count = lambda: 2
if "RANK" in os.environ:
    open(os.path.join(os.environ["SEEN"], "rank" + os.environ["RANK"]), "w").close()
"""
"""Each process of torchrun notes itself in the folder `SEEN`."""
