"""Published AttnGAN encoders become encoders of this project, without running any of their code.

Files: `text_encoder<epoch>.pth` and `image_encoder<epoch>.pth`, flat state dicts of an old PyTorch, and the
`captions.pickle` that they were trained with, whose order of words is that of the text encoder's table.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdx2i.encoders.damsm.encoders import Damsm
from kdx2i.encoders.damsm.image_encoder import CNNEncoder
from kdx2i.encoders.damsm.settings import DamsmSettings
from kdx2i.encoders.damsm.text_encoder import RNNEncoder
from kdx2i.encoders.damsm.vocabulary import END, Vocabulary
from kdx2i.errors import UserError
from kdx2i.files import sha256_file
from kdx2i.foreign import open_plain, refusing
from kdx2i.teacher.official.pickle_reader import only, read_pickle
from kdx2i.teacher.official.state_dicts import read_state_dict
from kdx2i.teacher.official.torch_files import LazyTensor, materialise

COUNTER = "num_batches_tracked"
"""Old PyTorch did not count batches: files lack these keys."""
_LISTS = "train captions, test captions, index to word and word to index"


def encoder_state(state: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Return a published state dict with the counters of batches, which it may lack, of the module."""
    counters = {key: value for key, value in module.state_dict().items() if key.endswith(COUNTER)}
    return {**counters, **state}


def read_words(path: Path) -> Vocabulary:
    """Return the vocabulary of a `captions.pickle` (Python 2 or 3); `UserError` for any other file."""
    with refusing(f"{path} is no captions.pickle of AttnGAN"), open_plain(path) as handle:
        content = read_pickle(handle, only({}, path))
        if not isinstance(content, list | tuple) or len(content) != 4 or not isinstance(content[2], dict):
            raise ValueError(f"it does not hold {_LISTS}")
        table: dict[Any, Any] = content[2]
        words = [table.get(number) for number in range(len(table))]
        if not all(isinstance(word, str) for word in words) or len(set(words)) != len(words):
            raise ValueError("its words are not numbered one by one")
        if words[:1] != [END]:
            raise ValueError(f"its first word is not {END}")
    return Vocabulary(tuple(str(word) for word in words))


def import_damsm(text_path: Path, image_path: Path, captions_path: Path) -> Damsm:
    """Return the published encoders with their vocabulary, on the CPU.

    `UserError` for files that are damaged, ask to run code, or do not belong together.
    """
    vocabulary = read_words(captions_path)
    text_file, image_file = read_state_dict(text_path), read_state_dict(image_path)
    table = _size(text_file, "encoder.weight", 2, text_path)
    states = _size(text_file, "rnn.weight_hh_l0", 2, text_path)[1]
    dimension = _size(image_file, "emb_features.weight", 4, image_path)[0]
    if 2 * states != dimension:
        raise UserError(f"{text_path} has sentences of {2 * states} numbers, {image_path} images of {dimension}")
    if table[0] != len(vocabulary):
        raise UserError(
            f"{text_path} knows {table[0]} words, but {captions_path} has {len(vocabulary)}: the vocabulary must be "
            "the one that the encoder was trained with"
        )
    with refusing(f"{text_path} or {image_path} does not fit DAMSM"):
        settings = DamsmSettings(embedding=table[1], dimension=dimension)
        text, image = RNNEncoder(table[0], table[1], dimension), CNNEncoder(dimension)
    _load(text, text_file, text_path)
    _load(image, image_file, image_path)
    paths = {"text": text_path, "image": image_path, "captions": captions_path}
    provenance = {
        "format": "AttnGAN",
        "source": {role: path.name for role, path in paths.items()},
        "source_sha256": {role: sha256_file(path) for role, path in paths.items()},
    }
    return Damsm(settings, vocabulary, text.eval(), image.eval(), provenance)


def _size(content: Mapping[str, LazyTensor], key: str, dimensions: int, path: Path) -> tuple[int, ...]:
    size = content[key].size if key in content else ()
    if len(size) != dimensions or not all(size):
        raise UserError(f"{path} is no encoder of AttnGAN: {key} is missing or has the shape {size}")
    return size


def _load(module: nn.Module, content: Mapping[str, LazyTensor], path: Path) -> None:
    """Load a file into its network; `UserError` for other keys, shapes or values that are not finite."""
    own = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    kept = {key: tensor for key, tensor in content.items() if not key.startswith(("AuxLogits.", "fc."))}
    wrong = [key for key in kept if own.get(key) != kept[key].size]
    wrong += [key for key in own if key not in kept and not key.endswith(COUNTER)]
    if wrong:
        raise UserError(f"{path} does not fit DAMSM: see {sorted(wrong)[0]}")
    state = materialise(kept, path)
    damaged = [key for key, tensor in state.items() if not bool(torch.isfinite(tensor).all())]
    if damaged:
        raise UserError(f"{path} is damaged: {damaged[0]} holds values that are not finite")
    module.load_state_dict(encoder_state(state, module))
