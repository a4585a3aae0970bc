"""Speech encoder, image encoder and classifier of S2IGAN, with the official parameter names.

`models/AudioModels.py`, `models/ImageModels.py` and `models/classification.py` of xinshengwang/S2IGAN at 8cca123.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from kdx2i.encoders.speech.features import BANDS
from kdx2i.encoders.speech.settings import SpeechEncoderSizes

KERNEL, STRIDE = 6, 2


class AttentionHead(nn.Module):
    """Weights over time, one for each step and channel: softmax of W2 tanh(W1 h)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, hidden)
        nn.init.orthogonal_(self.hidden.weight)
        self.out = nn.Linear(hidden, inputs)

    def forward(self, states: Tensor) -> Tensor:
        """Return the weights [B, T, C] of states [B, T, C]; they sum to one over T, padding included."""
        return F.softmax(self.out(torch.tanh(self.hidden(states))), dim=1)


class Attention(nn.Module):
    """The sum of the states over time, weighted by the one head."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.att_heads = nn.ModuleList([AttentionHead(inputs, hidden)])

    def forward(self, states: Tensor) -> Tensor:
        """[B, T, C] -> [B, C]."""
        weights: Tensor = self.att_heads[0](states)
        return (weights * states).sum(1)


class SpeechNetwork(nn.Module):
    """The speech encoder (CNN_RNN_ENCODER): features [B, T, 40] -> embeddings [B, 2 x hidden] of unit length.

    Two convolutions without activation, two layers of a bidirectional GRU, attention over time. Convolutions, batch
    norms in training mode and the attention see the padding of a batch, so that an embedding depends on its longest
    utterance; S2IGAN's conditions are computed one by one.
    """

    def __init__(self, sizes: SpeechEncoderSizes, bands: int = BANDS) -> None:
        super().__init__()
        self.Conv1 = nn.Conv1d(bands, sizes.first, KERNEL, STRIDE)
        self.Conv2 = nn.Conv1d(sizes.first, sizes.second, KERNEL, STRIDE)
        self.bnorm1 = nn.BatchNorm1d(sizes.first)
        self.bnorm2 = nn.BatchNorm1d(sizes.second)
        self.rnn = nn.GRU(sizes.second, sizes.hidden, num_layers=2, batch_first=True, bidirectional=True)
        self.att = Attention(sizes.embedding, sizes.attention)

    def states(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Return the GRU's states [B, T', C] of features [B, T, 40]; zero after the end of an utterance.

        `lengths` int64 [B] are the frames of each, at least 16, and T is their greatest.
        """
        x = self.bnorm1(self.Conv1(features.transpose(1, 2)))
        x = self.bnorm2(self.Conv2(x)).transpose(1, 2)
        for _ in range(2):
            lengths = (lengths - KERNEL + STRIDE) // STRIDE
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states: Tensor = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)[0]
        return states

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Return embeddings [B, C] of features [B, T, 40] with `lengths` int64 [B]."""
        return F.normalize(self.att(self.states(features, lengths)), dim=1)


class ImageHead(nn.Module):
    """The image encoder (LINEAR_ENCODER): features of an image network [B, D] -> embeddings [B, C] of unit length."""

    def __init__(self, inputs: int, embedding: int) -> None:
        super().__init__()
        self.L1 = nn.Linear(inputs, embedding)

    def forward(self, features: Tensor) -> Tensor:
        """[B, D] -> [B, C]."""
        return F.normalize(self.L1(features), dim=1)


class Classifier(nn.Module):
    """The classifier of both kinds of embedding (CLASSIFIER): [B, C] -> logits [B, classes]."""

    def __init__(self, embedding: int, classes: int) -> None:
        super().__init__()
        self.L1 = nn.Linear(embedding, classes)

    def forward(self, embeddings: Tensor) -> Tensor:
        """[B, C] -> [B, classes]."""
        logits: Tensor = self.L1(embeddings)
        return logits


def padded(features: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return utterances (frames, 40) as one batch [B, T, 40], zero after their ends, and their lengths int64 [B]."""
    lengths = torch.tensor([len(one) for one in features])
    return pad_sequence(features, batch_first=True), lengths
