"""Captions as words and numbers (`datasets.py` of wtliao/text2image and taoxugit/AttnGAN). Torch-free."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

END = "<end>"
"""The word of index 0, which pads."""
_WORD = re.compile(r"\w+")


def tokenise(caption: str) -> list[str]:
    r"""Return the words of a caption in lower case: runs of `\w` (NLTK's `RegexpTokenizer`), then ASCII alone.

    Underscores and digits belong to words; a word without an ASCII letter vanishes.
    """
    text = caption.replace("\ufffd\ufffd", " ").lower()
    words = (word.encode("ascii", "ignore").decode("ascii") for word in _WORD.findall(text))
    return [word for word in words if word]


@dataclass(frozen=True)
class Vocabulary:
    """Words by index; the first is `<end>`. The order is that of the encoder's table, which is useless in another."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, captions: Iterable[str]) -> "Vocabulary":
        """Return the words of captions in the order of first appearance, after `<end>`."""
        return cls((END, *dict.fromkeys(word for caption in captions for word in tokenise(caption))))

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The index of each word."""
        return {word: number for number, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def unseen(self, captions: Iterable[str]) -> list[str]:
        """Return the words of captions that have no index, each once, in the order of first appearance."""
        words = (word for caption in captions for word in tokenise(caption))
        return list(dict.fromkeys(word for word in words if word not in self.numbers))


def indices(words: Sequence[str], numbers: dict[str, int]) -> list[int]:
    """Return the indices of words; words without one are left out, as the official code does."""
    return [numbers[word] for word in words if word in numbers]
