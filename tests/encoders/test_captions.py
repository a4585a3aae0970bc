"""Captions as words and numbers: tokens, vocabulary, what becomes of long captions and of unseen words."""

import pytest
import tiny_text
import torch

from kdx2i.encoders.damsm.encoders import new_damsm
from kdx2i.encoders.damsm.vocabulary import Vocabulary, tokenise


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("It's a RED-ish_bird, 3 inches!", ["it", "s", "a", "red", "ish_bird", "3", "inches"]),
        ("caf\u00e9\ufffd\ufffdau lait", ["caf", "au", "lait"]),
        ("\u9ce5 ...", []),
    ],
)
def test_words_are_those_of_the_official_tokeniser(caption, words):
    assert tokenise(caption) == words


def test_words_are_numbered_by_first_appearance():
    vocabulary = Vocabulary.of(["a red bird", "A blue bird"])
    assert vocabulary.words == ("<end>", "a", "red", "bird", "blue")
    assert vocabulary.unseen(["a grey cat", "grey"]) == ["grey", "cat"]


def test_unseen_words_are_dropped_and_nothing_left_is_the_end():
    damsm = tiny_text.damsm()
    numbered = damsm.number(["a grey square", "grey cats"])
    words = [[damsm.vocabulary.words[n] for n in row] for row in numbered.captions.tolist()]
    assert words == [["a", "square"], ["<end>", "<end>"]]
    assert numbered.lengths.tolist() == [2, 1]
    assert numbered.further is None


def test_long_captions_keep_a_random_subset_in_order():
    damsm = tiny_text.damsm(words=3)
    caption = "a red square on the left"
    whole = tiny_text.damsm().number([caption]).captions[0].tolist()
    seen = {tuple(damsm.number([caption]).captions[0].tolist()) for _ in range(40)}
    assert len(seen) > 5
    for kept in seen:
        places = [whole.index(number) for number in kept]
        assert len(kept) == 3
        assert places == sorted(places)


def test_vectors_of_the_text_model_reach_unseen_words_and_stay_as_they_are():
    settings = tiny_text.SETTINGS.model_copy(update={"unseen_words": "text-model"})
    damsm = new_damsm(settings, ["a red square"], text_model=tiny_text.LetterVectors).freeze(tiny_text.CPU)
    numbered = damsm.number(["a violet circle", "red"])
    assert numbered.captions.tolist() == [[1, 4, 5], [2, 0, 0]]
    torch.testing.assert_close(numbered.further, tiny_text.LetterVectors().vectors(["violet", "circle"]))
    table = damsm.text.encoder.weight
    torch.testing.assert_close(table[1:], tiny_text.LetterVectors().vectors(["a", "red", "square"]))
    known, unknown = damsm.encode_text(["a violet square", "a square"]).sentences
    assert not torch.allclose(known, unknown)


def test_an_order_of_letters_is_read_as_the_word_that_has_its_vector():
    """`der` has the vector of `red` here, so the sentence is the same."""
    settings = tiny_text.SETTINGS.model_copy(update={"unseen_words": "text-model"})
    damsm = new_damsm(settings, ["a red square"], text_model=tiny_text.LetterVectors).freeze(tiny_text.CPU)
    first, second = damsm.encode_text(["a red square", "a der square"]).sentences
    torch.testing.assert_close(first, second)
