"""The text encoder (`RNN_ENCODER`, `code/model.py` of taoxugit/AttnGAN), with the official parameter names."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class RNNEncoder(nn.Module):
    """Word indices to word and sentence vectors of `nhidden` numbers, forward states before backward states.

    Official defaults: 300 numbers a word, drawn from U(-0.1, 0.1), dropout 0.5 on them in training, one bidirectional
    LSTM of 128 states a direction.
    """

    def __init__(
        self,
        ntoken: int,
        ninput: int = 300,
        nhidden: int = 256,
        *,
        drop_prob: float = 0.5,
        nlayers: int = 1,
        bidirectional: bool = True,
        rnn_type: Literal["LSTM", "GRU"] = "LSTM",
    ) -> None:
        super().__init__()
        self.directions = 2 if bidirectional else 1
        self.nhidden = nhidden // self.directions * self.directions
        self.encoder = nn.Embedding(ntoken, ninput)
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        self.drop = nn.Dropout(drop_prob)
        kind: Any = {"LSTM": nn.LSTM, "GRU": nn.GRU}[rnn_type]
        self.rnn: nn.RNNBase = kind(
            ninput,
            nhidden // self.directions,
            nlayers,
            batch_first=True,
            # Between layers, so of no effect with one, where PyTorch warns of it.
            dropout=drop_prob if nlayers > 1 else 0.0,
            bidirectional=bidirectional,
        )

    def forward(self, captions: Tensor, lengths: Tensor, further: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return words [B, nhidden, T], zero beyond a caption's end, and sentences [B, nhidden].

        Captions are int64 [B, T'] in any order, lengths int64 [B] of at least one; T is the longest of them. Indices
        from `ntoken` on are rows of `further` [E, ninput], vectors of words without an own one.
        """
        table = self.encoder.weight if further is None else torch.cat([self.encoder.weight, further])
        embedded = self.drop(F.embedding(captions, table))
        packed = pack_padded_sequence(embedded, lengths.cpu(), batch_first=True, enforce_sorted=False)
        output, hidden = self.rnn(packed)
        words = pad_packed_sequence(output, batch_first=True)[0]
        last = hidden[0] if isinstance(hidden, tuple) else hidden
        return words.transpose(1, 2), last.transpose(0, 1).reshape(-1, self.nhidden)
