"""DAMSM: encoders, the loss against a direct evaluation of its formulas, and files."""

import math

import pytest
import tiny_text
import torch

from kdx2i.encoders.damsm.encoders import new_damsm
from kdx2i.encoders.damsm.files import load_damsm, save_damsm
from kdx2i.encoders.damsm.losses import Encoded, Sharpness, damsm_loss
from kdx2i.encoders.damsm.text_encoder import RNNEncoder
from kdx2i.encoders.damsm.trunks import build_image_encoder, load_trunk
from kdx2i.errors import UserError
from kdx2i.training.checkpoint import save_tensors


def test_the_order_and_the_padding_of_captions_do_not_matter():
    encoder = RNNEncoder(9, 5, 6).eval()
    captions = torch.tensor([[1, 2, 0, 0], [3, 4, 5, 6], [7, 0, 0, 0]])
    words, sentences = encoder(captions, torch.tensor([2, 4, 1]))
    alone, sentence = encoder(captions[:1, :2], torch.tensor([2]))
    torch.testing.assert_close(words[0, :, :2], alone[0])
    torch.testing.assert_close(sentences[0], sentence[0])
    assert not words[0, :, 2:].any()
    assert not words[2, :, 1:].any()
    # The last forward state stands at the last word, the last backward state at the first one.
    torch.testing.assert_close(sentences[1], torch.cat([words[1, :3, 3], words[1, 3:, 0]]))


def direct_loss(encoded, classes, gamma):
    """The printed formulas, one number at a time."""
    regions, count = encoded.regions.flatten(2), len(encoded.codes)

    def cosine(x, y):
        return float(x @ y) / max(float(x.norm() * y.norm()), 1e-8)

    def pair(image, caption):
        length, places = int(encoded.lengths[caption]), regions.shape[2]
        words = [encoded.words[caption, :, t] for t in range(length)]
        raw = [[float(regions[image, :, r] @ word) for word in words] for r in range(places)]
        over_words = [[math.exp(s) / sum(map(math.exp, row)) for s in row] for row in raw]
        total = 0.0
        for t, word in enumerate(words):
            weights = [math.exp(gamma.gamma1 * over_words[r][t]) for r in range(places)]
            context = sum(w / sum(weights) * regions[image, :, r] for r, w in enumerate(weights))
            total += math.exp(gamma.gamma2 * cosine(context, word))
        return math.log(total)

    def both(score):
        scores = [[gamma.gamma3 * score(i, j) for j in range(count)] for i in range(count)]
        kept = [[i == j or classes[i] != classes[j] for j in range(count)] for i in range(count)]
        rows = sum(
            math.log(sum(math.exp(scores[i][j]) for j in range(count) if kept[i][j])) - scores[i][i]
            for i in range(count)
        )
        columns = sum(
            math.log(sum(math.exp(scores[i][j]) for i in range(count) if kept[i][j])) - scores[j][j]
            for j in range(count)
        )
        return rows / count + columns / count

    return both(pair) + both(lambda i, j: cosine(encoded.codes[i], encoded.sentences[j]))


def test_the_loss_is_that_of_the_formulas():
    draw = torch.Generator().manual_seed(4)
    sizes = [(3, 5, 2, 3), (3, 5), (3, 5, 4), (3, 5)]
    regions, codes, words, sentences = (torch.randn(*s, generator=draw, dtype=torch.float64) for s in sizes)
    encoded = Encoded(regions, codes, words, sentences, torch.tensor([2, 4, 1]))
    gamma = Sharpness(4.0, 3.0, 2.0)
    for classes in (torch.tensor([0, 1, 2]), torch.tensor([0, 1, 0])):
        own = damsm_loss(encoded, classes, gamma, 0.5)["total"].item()
        assert own == pytest.approx(0.5 * direct_loss(encoded, classes.tolist(), gamma), rel=1e-10)


def test_encoders_survive_their_file(tmp_path):
    damsm = tiny_text.damsm(seed=3)
    damsm.provenance = {"data": "squares"}
    save_damsm(tmp_path / "d.safetensors", damsm)
    again = load_damsm(tmp_path / "d.safetensors", tiny_text.CPU)
    assert (again.settings, again.vocabulary, again.provenance) == (damsm.settings, damsm.vocabulary, damsm.provenance)
    images, texts = torch.rand(2, 3, 32, 32) * 2 - 1, ["a red square", "left: blue"]
    torch.testing.assert_close(again.agreement(images, texts), damsm.agreement(images, texts))
    assert not any(p.requires_grad for module in again.modules.values() for p in module.parameters())


def test_other_files_are_refused_in_one_sentence(tmp_path):
    path = tmp_path / "d.safetensors"
    with pytest.raises(UserError, match="does not exist: train the DAMSM encoders"):
        load_damsm(path, tiny_text.CPU)
    save_tensors(path, {"x": torch.zeros(2)}, {"format": "something"})
    with pytest.raises(UserError, match="holds no DAMSM encoders"):
        load_damsm(path, tiny_text.CPU)
    damsm = tiny_text.damsm()
    save_damsm(path, damsm)
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_damsm(path, tiny_text.CPU)
    damsm.vocabulary = type(damsm.vocabulary)((*damsm.vocabulary.words, "more"))
    save_damsm(path, damsm)
    with pytest.raises(UserError, match="table of words"):
        load_damsm(path, tiny_text.CPU)


def test_a_trunk_without_its_weights_says_which_file(tmp_path, monkeypatch):
    for trunk in ("inception-v3", "efficientnet-lite1"):
        settings = tiny_text.SETTINGS.model_copy(update={"trunk": trunk, "trunk_weights": str(tmp_path / "w.pth")})
        with pytest.raises(UserError, match=r"w\.pth"):
            new_damsm(settings, ["a"])
    with pytest.raises(UserError, match="multiple of 32"):
        build_image_encoder(settings.model_copy(update={"input_size": 40}))


def test_the_packaged_trunk_is_frozen_and_sees_regions_of_sixteen_pixels():
    settings = tiny_text.SETTINGS.model_copy(update={"trunk": "efficientnet-lite1", "input_size": 64})
    encoder = build_image_encoder(settings).train()
    assert {name for name, p in encoder.named_parameters() if p.requires_grad} == {
        "emb_features.weight", "emb_cnn_code.weight", "emb_cnn_code.bias",
    }  # fmt: skip
    x = torch.rand(2, 3, 48, 48) * 2 - 1
    regions, codes = encoder(x)
    assert (regions.shape, codes.shape) == ((2, 16, 4, 4), (2, 16))
    torch.testing.assert_close(encoder(x)[1], codes)  # no drop of connections, no statistics that move
    expected = encoder.trunk.extract_features(
        (torch.nn.functional.interpolate(x, size=(64, 64), mode="bilinear") * 127.5 + 0.5) / 128
    )
    torch.testing.assert_close(encoder.maps(x)[1], expected)


def test_the_small_trunk_has_no_published_weights():
    settings = tiny_text.SETTINGS.model_copy(update={"trunk_weights": "w.pth"})
    with pytest.raises(UserError, match="leave `trunk_weights` out"):
        load_trunk(build_image_encoder(settings), settings)
