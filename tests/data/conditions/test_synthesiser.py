"""The synthesiser: the same samples whatever was said before, in any process; voices; what is refused."""

import hashlib
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from kdx2i.data.conditions import synthesiser
from kdx2i.data.conditions.synthesiser import VOICES, Synthesiser, voice_of
from kdx2i.errors import UserError

SAID = [("a red rose", "en-us"), ("a yellow blossom in a pot", "en-gb-x-rp+f4"), ("a red rose", "en-029+f3")]


def digest(samples: np.ndarray) -> str:
    return hashlib.sha256(samples.tobytes()).hexdigest()


def test_an_utterance_depends_on_nothing_but_text_and_voice(root):
    synthesiser = Synthesiser()
    forth = [digest(synthesiser.say(*said)) for said in SAID]
    back = [digest(synthesiser.say(*said)) for said in reversed(SAID)][::-1]
    assert forth == back and len(set(forth)) == 3
    code = (
        "import hashlib; from kdx2i.data.conditions.synthesiser import Synthesiser as S;"
        f"print(hashlib.sha256(S().say(*{SAID[2]!r}).tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == forth[2]


def test_an_utterance_is_sound_of_a_plausible_length():
    samples = Synthesiser().say("a yellow and orange blossom", "en-us")
    assert samples.dtype == np.int16 and 0.8 < len(samples) / 22_050 < 3
    assert samples.std() > 500


def test_every_voice_is_there_and_speaks_otherwise():
    synthesiser = Synthesiser()
    assert len({digest(synthesiser.say("a rose", voice)) for voice in VOICES}) == len(VOICES)


def test_an_image_has_one_voice_and_images_have_all():
    voices = Counter(voice_of(f"noto:flower-{number}") for number in range(500))
    assert set(voices) == set(VOICES) and min(voices.values()) > 20
    assert voice_of("noto:rose") == voice_of("noto:rose") == "en-029"


def test_what_cannot_be_said_is_one_sentence():
    synthesiser = Synthesiser()
    with pytest.raises(UserError, match="has no voice en-mars"):
        synthesiser.say("a rose", "en-mars")
    with pytest.raises(UserError, match="no sound for the text ''"):
        synthesiser.say("", "en-us")
    assert len(synthesiser.say("a rose", "en-us")) > 0


def test_the_description_names_the_synthesiser():
    described = Synthesiser().describe()
    assert described["synthesiser"].startswith("espeak-ng 1.") and described["package"].startswith("espeakng-loader ")
    assert (described["rate"], described["seed"], described["voices"]) == (22_050, 1, list(VOICES))


def test_without_the_package_one_sentence_says_what_to_install(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(synthesiser, "import_module", absent)
    with pytest.raises(UserError, match=r"pip install -c constraints.txt -e '.\[speech\]'"):
        Synthesiser()
