"""Both encoders with their vocabulary: captions and images to vectors that can be compared."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kdx2i.encoders.damsm.image_encoder import ImageEncoder
from kdx2i.encoders.damsm.losses import sentence_scores
from kdx2i.encoders.damsm.settings import DamsmSettings
from kdx2i.encoders.damsm.text_encoder import RNNEncoder
from kdx2i.encoders.damsm.text_model import DIMENSION, WordVectors, load_text_model
from kdx2i.encoders.damsm.trunks import build_image_encoder, load_trunk
from kdx2i.encoders.damsm.vocabulary import Vocabulary, indices, tokenise


@dataclass(frozen=True)
class Numbered:
    """Captions as the text encoder takes them.

    Indices int64 [B, T] padded with `<end>`, lengths int64 [B], and the vectors [E, W] of words beyond the vocabulary.
    """

    captions: Tensor
    lengths: Tensor
    further: Tensor | None = None


@dataclass(frozen=True)
class EncodedText:
    """Words [B, D, T] of which the first `lengths` int64 [B] count, and sentence vectors [B, D]."""

    words: Tensor
    sentences: Tensor
    lengths: Tensor


@dataclass
class Damsm:
    """A text and an image encoder that belong together; `provenance` says what they were trained on (JSON values)."""

    settings: DamsmSettings
    vocabulary: Vocabulary
    text: RNNEncoder
    image: ImageEncoder
    provenance: dict[str, Any] = field(default_factory=dict)
    text_model: Callable[[], WordVectors] = load_text_model
    _vectors: WordVectors | None = None

    @property
    def device(self) -> torch.device:
        """Where the encoders are."""
        return self.text.encoder.weight.device

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Both networks by name."""
        return {"text": self.text, "image": self.image}

    def freeze(self, device: torch.device) -> "Damsm":
        """Move the encoders to a device, in evaluation mode and without gradients of their weights; return them."""
        for module in self.modules.values():
            module.to(device).eval().requires_grad_(False)
        self.image.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    def vectors(self, words: Sequence[str]) -> Tensor:
        """Return the open text model's vectors [N, 384] of words; `UserError` where the model is not installed."""
        if self._vectors is None:
            self._vectors = self.text_model()
        return self._vectors.vectors(words)

    def number(self, captions: Sequence[str]) -> Numbered:
        """Return captions as numbers, on the device of the encoders.

        A caption of more than `settings.words` words keeps a random subset of them in their order, drawn by torch's
        global generator (official: a new one at every access). Unseen words are dropped, or get vectors of the open
        text model (protocol entry damsm-unseen-words); a caption without any word that counts is `<end>` alone.
        """
        numbers = self.vocabulary.numbers
        further: Tensor | None = None
        if self.settings.unseen_words == "text-model" and (unseen := self.vocabulary.unseen(captions)):
            further = self.vectors(unseen).to(self.device)
            numbers = numbers | {word: len(numbers) + place for place, word in enumerate(unseen)}
        rows = [self._shortened(indices(tokenise(caption), numbers)) or [0] for caption in captions]
        padded = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
        for row, into in zip(rows, padded, strict=True):
            into[: len(row)] = torch.tensor(row)
        return Numbered(padded.to(self.device), torch.tensor([len(row) for row in rows]), further)

    def _shortened(self, row: list[int]) -> list[int]:
        most = self.settings.words
        if len(row) <= most:
            return row
        return [row[place] for place in torch.randperm(len(row))[:most].sort().values.tolist()]

    def encode_text(self, captions: Sequence[str]) -> EncodedText:
        """Return words and sentences of captions, in their order."""
        numbered = self.number(captions)
        words, sentences = self.text(numbered.captions, numbered.lengths, numbered.further)
        return EncodedText(words, sentences, numbered.lengths)

    def encode_images(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, H, W] in [-1, 1] -> regions [B, D, h, w] and codes [B, D]."""
        regions, codes = self.image(images)
        return regions, codes

    @torch.no_grad()
    def agreement(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Return the cosines [N, M] of N images [N, 3, H, W] in [-1, 1] and M captions (for R-precision)."""
        sentences = self.encode_text(captions).sentences
        return sentence_scores(self.encode_images(images.to(self.device))[1], sentences)


def new_damsm(
    settings: DamsmSettings, captions: Iterable[str], *, text_model: Callable[[], WordVectors] = load_text_model
) -> Damsm:
    """Return encoders before their training: the words of the captions, weights from torch's global generator.

    With vectors of the open text model the table of words holds these, of 384 numbers, and does not learn: unseen words
    then lie where the recurrent layer has learned to read. `UserError` where published weights are missing.
    """
    vocabulary = Vocabulary.of(captions)
    from_model = settings.unseen_words == "text-model"
    text = RNNEncoder(
        len(vocabulary),
        DIMENSION if from_model else settings.embedding,
        settings.dimension,
        drop_prob=settings.dropout,
    )
    damsm = Damsm(settings, vocabulary, text, build_image_encoder(settings), {}, text_model)
    load_trunk(damsm.image, settings)
    if from_model:
        with torch.no_grad():
            text.encoder.weight.zero_()
            text.encoder.weight[1:] = damsm.vectors(vocabulary.words[1:])
        text.encoder.weight.requires_grad_(False)
    return damsm
