"""Published AttnGAN files, as an old PyTorch and Python 2 wrote them: read, matched or refused; none of them runs."""

import os
import pickle

import pytest
import torch

from kdx2i.encoders.damsm.files import load_damsm
from kdx2i.encoders.damsm.image_encoder import CNNEncoder
from kdx2i.encoders.damsm.official import import_damsm, read_words
from kdx2i.encoders.damsm.text_encoder import RNNEncoder
from kdx2i.encoders.importing import import_encoder
from kdx2i.errors import UserError

WORDS = ["<end>", "bird", "a", "red"]


def old(state):
    """Return a state dict without the counters of batches."""
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


def write_captions(path, words=WORDS, protocol=2):
    table = dict(enumerate(words))
    path.write_bytes(pickle.dumps([[[1, 2]], [[3]], table, {w: n for n, w in table.items()}], protocol))
    return path


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(1)
    text, image = RNNEncoder(len(WORDS), 6, 8), CNNEncoder(8)
    with torch.no_grad():
        for tensor in image.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor) * 0.1)
    for name, module in (("text_encoder200.pth", text), ("image_encoder200.pth", image)):
        torch.save(old(module.state_dict()), folder / name, _use_new_zipfile_serialization=False)
    write_captions(folder / "captions.pickle")
    return folder, text.eval(), image.eval()


def test_published_files_become_encoders(published):
    folder, text, image = published
    damsm = import_damsm(*(folder / n for n in ("text_encoder200.pth", "image_encoder200.pth", "captions.pickle")))
    assert damsm.vocabulary.words == tuple(WORDS)
    assert (damsm.settings.embedding, damsm.settings.dimension, damsm.settings.trunk) == (6, 8, "inception-v3")
    assert damsm.provenance["source"]["text"] == "text_encoder200.pth"
    with torch.no_grad():
        sentences = damsm.encode_text(["A red bird"]).sentences
        torch.testing.assert_close(sentences, text(torch.tensor([[2, 3, 1]]), torch.tensor([3]))[1])
    for key, tensor in image.state_dict().items():
        assert torch.equal(damsm.image.state_dict()[key], tensor), key


def test_the_file_of_imported_encoders_reads_captions_as_they_do(published, tmp_path):
    folder, text, _ = published
    names = [folder / name for name in ("text_encoder200.pth", "image_encoder200.pth", "captions.pickle")]
    damsm = load_damsm(import_encoder(names, tmp_path / "bird.safetensors"), torch.device("cpu"))
    assert damsm.provenance["source"]["captions"] == "captions.pickle"
    with torch.no_grad():
        torch.testing.assert_close(
            damsm.encode_text(["red"]).sentences, text(torch.tensor([[3]]), torch.tensor([1]))[1]
        )
    with pytest.raises(UserError, match=r"must end in \.safetensors"):
        import_encoder(names, tmp_path / "bird.pth")
    with pytest.raises(UserError, match="one folder of S2IGAN's, or three files of AttnGAN's"):
        import_encoder(names[:2], tmp_path / "bird.safetensors")


def test_a_vocabulary_of_another_size_is_refused(published, tmp_path):
    folder, *_ = published
    other = write_captions(tmp_path / "captions.pickle", [*WORDS, "blue"])
    with pytest.raises(UserError, match=r"knows 4 words, but .* has 5"):
        import_damsm(folder / "text_encoder200.pth", folder / "image_encoder200.pth", other)


def test_files_in_each_others_place_are_refused(published):
    folder, *_ = published
    text, image, words = (folder / n for n in ("text_encoder200.pth", "image_encoder200.pth", "captions.pickle"))
    with pytest.raises(UserError, match="is no encoder of AttnGAN"):
        import_damsm(image, text, words)


def test_words_of_python_2_are_read(tmp_path):
    # Protocol 2 of Python 2: byte strings (SHORT_BINSTRING), which Python 3 never writes.
    data = b"\x80\x02]q\x00(]q\x01]q\x02}q\x03(K\x00U\x05<end>q\x04K\x01U\x04birdq\x05u}q\x06(h\x04K\x00h\x05K\x01ue."
    path = tmp_path / "captions.pickle"
    path.write_bytes(data)
    assert pickle.loads(data)[2] == {0: "<end>", 1: "bird"}  # noqa: S301 (bytes that stand above)
    assert read_words(path).words == ("<end>", "bird")


class Attack:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([Attack(), [], {0: "<end>"}, {}], "asks for"),
        ([[], [], {0: "bird"}, {}], "first word"),
        ([[], [], {0: "<end>", 2: "bird"}, {}], "numbered one by one"),
        ([[], [], {0: "<end>", 1: "<end>"}, {}], "numbered one by one"),
        ([[], []], "does not hold"),
        ({}, "does not hold"),
    ],
)
def test_other_lists_of_words_are_refused(tmp_path, content, sentence):
    path = tmp_path / "captions.pickle"
    path.write_bytes(pickle.dumps(content, 2))
    with pytest.raises(UserError, match=sentence):
        read_words(path)


def test_a_cut_file_is_refused(published, tmp_path):
    folder, *_ = published
    cut = tmp_path / "text.pth"
    cut.write_bytes((folder / "text_encoder200.pth").read_bytes()[:-40])
    with pytest.raises(UserError, match=r"text\.pth is damaged"):
        import_damsm(cut, folder / "image_encoder200.pth", folder / "captions.pickle")
