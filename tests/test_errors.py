"""A sentence for a user is short and printable, whatever it quotes."""

from hypothesis import given
from hypothesis import strategies as st

from kdx2i.bounds import SENTENCE
from kdx2i.errors import UserError, shortened


@given(st.text(max_size=2000))
def test_no_sentence_is_longer_than_its_bound_or_commands_a_terminal(text: str) -> None:
    sentence = str(UserError(f"archive.zip holds the member {text!s}: mend it"))
    assert len(sentence) <= SENTENCE
    assert sentence.startswith("archive.zip holds the member")
    assert sentence.endswith(": mend it")
    assert "\x1b" not in sentence
    sentence.encode()


def test_a_sentence_within_the_bound_stays_as_it_is() -> None:
    text = "x" * SENTENCE
    assert str(UserError(text)) == text
    assert len(str(UserError(text + "y"))) <= SENTENCE


def test_what_is_left_out_is_the_middle() -> None:
    assert shortened("a" * 200 + "b" * 400 + "c" * 80) == "a" * 200 + "b" * 17 + " … " + "c" * 80


def test_a_command_to_copy_is_kept_whole() -> None:
    text = "fetch it with: curl " + "u" * 500
    assert str(UserError(text, whole=True)) == text
