"""The one exception that a user's mistake raises, and how long its sentence may be."""

from kdx2i.bounds import SENTENCE

_END = 80  # characters of a shortened sentence that are its end: there it says what to do


class UserError(Exception):
    """A mistake that the user can mend: the message is one clear sentence (what, where, what to do).

    The command line prints the message without a traceback and exits with status 2. A sentence that quotes a file may
    come out as long as the file: the middle of one beyond `bounds.SENTENCE` characters is left out. `whole` keeps a
    sentence that quotes none, such as one that ends with a command to copy.
    """

    def __init__(self, sentence: object = "", *, whole: bool = False) -> None:
        super().__init__(str(sentence) if whole else shortened(str(sentence)))


def shortened(text: str, limit: int = SENTENCE) -> str:
    """Return a text of at most `limit` characters, its middle left out where it is longer, control characters escaped.

    What a file says may reach a terminal, which obeys control characters.
    """
    plain = (letter.isprintable() or letter.isspace() for letter in text)
    text = "".join(letter if is_plain else ascii(letter)[1:-1] for letter, is_plain in zip(text, plain, strict=True))
    if len(text) > limit:
        end = min(_END, limit // 3)
        text = f"{text[: limit - end - 3].rstrip()} … {text[-end:].lstrip()}"
    return text
