"""Official checkpoints of SEAN (`<epoch>_net_G.pth`, `<epoch>_net_D.pth` of ZPdesu/SEAN): bare state dicts."""

from pathlib import Path

from torch import nn

from kdx2i.errors import UserError
from kdx2i.teacher.official.torch_files import LazyTensor, materialise, read_torch_file

_COUNTER = "num_batches_tracked"
_PARALLEL = "module."


def load_official(network: nn.Module, path: Path) -> None:
    """Load an official checkpoint, read as tensors only, into a generator or discriminator of its sizes.

    `module.` before every name (of networks that were trained in parallel) is dropped; counters of batches, which files
    of old versions lack, may be missing. `UserError` for a file that is damaged, asks for anything but tensors, or
    belongs to another network.
    """
    content = read_torch_file(path)
    if not isinstance(content, dict) or not content or not all(isinstance(v, LazyTensor) for v in content.values()):
        raise UserError(f"{path} holds no state dict of a network")
    if not all(isinstance(name, str) for name in content):
        raise UserError(f"{path} holds no state dict of a network: its tensors have no names")
    parallel = all(name.startswith(_PARALLEL) for name in content)
    found = {name.removeprefix(_PARALLEL) if parallel else name: tensor for name, tensor in content.items()}
    own = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    missing = sorted(name for name in own.keys() - found.keys() if not name.endswith(_COUNTER))
    surplus = sorted(found.keys() - own.keys())
    other = sorted(name for name in own.keys() & found.keys() if own[name] != found[name].size)
    for words, names in (("lacks", missing), ("has, unlike the network,", surplus), ("has another size of", other)):
        if names:
            raise UserError(f"{path} {words} {names[0]}: it does not fit the network that the settings describe")
    network.load_state_dict(materialise(found, path), strict=False)
