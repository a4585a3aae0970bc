"""Starting a teacher from a trained one of lower resolution, as progressive growing does between its phases."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kdx2i.errors import UserError


@torch.no_grad()
def grow_from(network: nn.Module, smaller: Mapping[str, Tensor]) -> list[str]:
    """Copy every tensor (of any shape) of a smaller network whose name and shape agree; return the names copied.

    For StyleGAN2 these are the mapping network and all blocks up to the smaller resolution; the new block's
    layers keep their start. Raises `UserError` when fewer than half of the smaller network's tensors fit.
    """
    own = network.state_dict()
    fitting = [name for name, tensor in smaller.items() if name in own and own[name].shape == tensor.shape]
    if 2 * len(fitting) < len(smaller):
        raise UserError(
            f"only {len(fitting)} of {len(smaller)} tensors of the smaller teacher fit: "
            "its widths at the shared resolutions must be the same"
        )
    for name in fitting:
        own[name].copy_(smaller[name])
    return fitting
