"""Every reader of files that others make: small files that it reads, and a call that reads one."""

import importlib.util
import io
import json
import lzma
import pickle
import struct
import tarfile
import wave
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from repository import ROOT
from safetensors.torch import save

from kdx2i.config import PresetConfig, read_yaml, validate
from kdx2i.data.archive import read_members
from kdx2i.data.conditions.condition_rows import read_condition_rows
from kdx2i.data.conditions.formats import decode_captions, decode_label_map, decode_labels, decode_speech
from kdx2i.data.decode import read_rgb
from kdx2i.data.manifest import read_manifest
from kdx2i.data.pack import icon_line, read_icons
from kdx2i.data.rows import read_rows
from kdx2i.data.svg import Icon, rasterise
from kdx2i.encoders.damsm.encoders import new_damsm
from kdx2i.encoders.damsm.files import load_damsm, save_damsm
from kdx2i.encoders.damsm.official import read_words
from kdx2i.encoders.damsm.settings import DamsmSettings
from kdx2i.encoders.speech.encoder import SpeechEncoder, load_speech_encoder
from kdx2i.encoders.speech.networks import Classifier as SpeechClassifier
from kdx2i.encoders.speech.networks import ImageHead, SpeechNetwork
from kdx2i.encoders.speech.official import flat_state as flat_s2igan_state
from kdx2i.encoders.speech.settings import SpeechEncoderSizes
from kdx2i.foreign import parse_json
from kdx2i.inspection.leftovers import check_log
from kdx2i.methods.official_models import read_published
from kdx2i.methods.spade.networks import Generator as SpadeGenerator
from kdx2i.metrics.classifiers.classifier import Classifier, load_classifier, save_classifier
from kdx2i.metrics.classifiers.probe import LinearProbe
from kdx2i.metrics.images.feature_store import FeatureStore
from kdx2i.metrics.images.stored_matrix import StoredMatrix
from kdx2i.metrics.segmentation.segmenter import SegmenterSettings, TrainedSegmenter, UNet, load_segmenter
from kdx2i.metrics.settings import ClassifierSettings
from kdx2i.plan.network_files import require_network
from kdx2i.plan.shipped import read_shipped
from kdx2i.stages.reference_statistics import read_statistics
from kdx2i.teacher.official.biggan_files import import_biggan
from kdx2i.teacher.official.stylegan2_files import load_official
from kdx2i.teacher.stylegan2.weights import load_teacher, save_teacher

CASES = Path(__file__).parents[1] / "faults" / "cases"


@dataclass(frozen=True)
class Reader:
    """A reader: the ending of its files, small files that it reads, and the call. `cases` are names in `CASES`."""

    suffix: str
    samples: Callable[[], list[bytes]]
    read: Callable[[Path], Any]
    cases: tuple[str, ...] = ()


def image(form: str, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    pixels = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(6, 8, 3)
    Image.fromarray(pixels).convert(mode).save(buffer, form)
    return buffer.getvalue()


def tar(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.PAX_FORMAT) as archive:
        for name in ("a/1.png", "b/\u00e9.png"):
            info = tarfile.TarInfo(name)
            info.size = 70
            archive.addfile(info, io.BytesIO(image("PNG")[:70]))
    return buffer.getvalue()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a/1.png", "b/2.png"):
            archive.writestr(name, image("PNG"))
    return buffer.getvalue()


def spoken() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as writer:
        writer.setparams((1, 2, 22_050, 0, "NONE", ""))
        writer.writeframes(struct.pack("<8h", *range(8)))
    return buffer.getvalue()


SVG = (
    '<defs><linearGradient id="p"><stop offset="0" stop-color="red"/></linearGradient><filter id="f">'
    '<feGaussianBlur stdDeviation="2"/></filter></defs><g id="a" filter="url(#f)"><path d="M0 0L9 9V3z" '
    'fill="url(#p)"/></g><use href="#a" x="3"/><path d="M1 1L9 1" stroke="red" stroke-dasharray="2 1"/>'
)


def drawing() -> list[bytes]:
    return [SVG.encode()]


def pack() -> list[bytes]:
    icons = [Icon("set", name, 64, 64, SVG) for name in ("one", "two")]
    return [lzma.compress(b"".join(icon_line(icon) + b"\n" for icon in icons), format=lzma.FORMAT_XZ)]


def split_table() -> list[bytes]:
    head = b"image,class,role,group,source,source_sha256,pixels_sha256\n"
    return [head + b"images/a/0.png,a,train,,s0," + b"0" * 64 + b"," + b"1" * 64 + b"\n"]


def condition_table() -> list[bytes]:
    return [b"image,kind,file,sha256\nimages/a/0.png,captions,conditions/a.txt," + b"0" * 64 + b"\n"]


def manifest() -> list[bytes]:
    lines = (ROOT / "benchmarks/datasets/open_emoji/manifest.csv").read_bytes().splitlines(keepends=True)
    return [b"".join(lines[:4])]


def yaml_files() -> list[bytes]:
    return [(ROOT / "benchmarks/presets/open-smoke.yaml").read_bytes()]


def written(write: Callable[[Path], None]) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        write(path)
        return path.read_bytes()


def classifier() -> list[bytes]:
    d = torch.float64
    probe = LinearProbe(torch.zeros(3, dtype=d), torch.zeros(3, 2, dtype=d), torch.zeros(2, dtype=d))
    made = Classifier(ClassifierSettings(), 2, 4, None, probe)
    return [written(lambda path: save_classifier(path, made))]


def segmenter() -> list[bytes]:
    made = TrainedSegmenter(SegmenterSettings(width=4), ("a", "b"), 16, 3, UNet(4, 2))
    return [written(made.save)]


@cache
def official() -> Any:
    """Return the writers of official files, which lie with the tests of the teachers."""
    place = Path(__file__).parents[1] / "teacher" / "official_files.py"
    specification = importlib.util.spec_from_file_location("official_files_of_faults", place)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def teacher() -> list[bytes]:
    generator, discriminator = official().rosinality_networks()
    return [written(lambda path: save_teacher(path, generator, discriminator, {}))]


def read_teacher(path: Path) -> None:
    require_network(path, str(path.stat().st_mtime_ns))
    load_teacher(path)


def damsm() -> list[bytes]:
    settings = DamsmSettings(trunk="small", small_width=4, dimension=4, embedding=4)
    return [written(lambda path: save_damsm(path, new_damsm(settings, ["a cat"])))]


def words() -> list[bytes]:
    table = {0: "<end>", 1: "cat"}
    return [
        pickle.dumps([[[1]], [[1]], table, {word: n for n, word in table.items()}], protocol) for protocol in (2, 4)
    ]


def shipped() -> list[bytes]:
    header = {"name": "s", "identity": "i", "spec": {}, "files": {}, "metrics": {}, "bits": 16}
    return [save({"a": torch.zeros(2)}, metadata={"kdx2i": json.dumps(header)})]


def checkpoints() -> list[bytes]:
    found = []
    for new in (True, False):
        buffer = io.BytesIO()
        content = official().rosinality_content(*official().rosinality_networks())
        torch.save(content, buffer, _use_new_zipfile_serialization=new)
        found.append(buffer.getvalue())
    return found


def pickles() -> list[bytes]:
    return [official().nvidia_bytes(*official().nvidia_networks())]


def flat_state() -> list[bytes]:
    buffer = io.BytesIO()
    names = ("shared.weight", "linear.weight", "blocks.0.0.conv1.weight", "embed.weight")
    torch.save({name: torch.zeros(4, 4) for name in names}, buffer)
    return [buffer.getvalue()]


def published_generator() -> list[bytes]:
    buffer = io.BytesIO()
    torch.save(SpadeGenerator(2, 5, 32, hidden=4).state_dict(), buffer)
    return [buffer.getvalue()]


def statistics() -> list[bytes]:
    moments, features = io.BytesIO(), io.BytesIO()
    np.savez(moments, mu=np.zeros(3), sigma=np.eye(3))
    np.savez_compressed(features, feats=np.ones((4, 3), np.float32))
    return [moments.getvalue(), features.getvalue()]


def speech_encoder() -> list[bytes]:
    sizes = SpeechEncoderSizes(first=2, second=2, hidden=1, attention=1, image_network="efficientnet-lite0")
    made = SpeechEncoder(sizes, SpeechNetwork(sizes), ImageHead(1280, 2), SpeechClassifier(2, 2))
    return [written(made.save)]


def feature_pack() -> list[bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        images = {bytes([n]) * 32: n for n in range(3)}
        FeatureStore(Path(folder), "key", {"features": 4}).add(images, [StoredMatrix(torch.ones(3, 4))])
        (path,) = Path(folder).iterdir()
        return [path.read_bytes()]


def read_features(path: Path) -> None:
    store = FeatureStore(path.parent, path.name.split("-")[0], {"features": 4})
    for pixels in (bytes([n]) * 32 for n in range(3)):
        if pixels in store:
            store.find(pixels)


def text(data: bytes) -> Callable[[], list[bytes]]:
    return lambda: [data]


READERS: dict[str, Reader] = {
    "zip": Reader(".zip", lambda: [zipped()], lambda path: list(read_members(path)), ("name_in_header.zip",)),
    "tar": Reader(".tar", lambda: [tar("w")], lambda path: list(read_members(path)), ("pax_sparse_map.tar",)),
    "tar.gz": Reader(
        ".tar.gz", lambda: [tar("w:gz")], lambda path: list(read_members(path)), ("sparse_holes_400.tar.gz",)
    ),
    "image": Reader(
        ".png",
        lambda: [image(form) for form in ("PNG", "JPEG", "WEBP", "BMP")] + [image("PNG", "P")],
        read_rgb,
        ("png_iCCP_0_after.png",),
    ),
    "label map": Reader(
        ".png", lambda: [image("PNG", "L")], lambda path: decode_label_map(path.read_bytes(), str(path))
    ),
    "labels": Reader(
        ".json", text(b'{"labels": ["a", "b"]}'), lambda path: decode_labels(path.read_bytes(), str(path))
    ),
    "speech": Reader(".wav", lambda: [spoken()], lambda path: decode_speech(path.read_bytes(), str(path))),
    "captions": Reader(".txt", text(b"a cat\nb\n"), lambda path: decode_captions(path.read_bytes(), str(path))),
    "drawing": Reader(
        ".svg", drawing, lambda path: rasterise(Icon("s", "n", 64, 64, path.read_bytes().decode("latin1")), 32)
    ),
    "pack of drawings": Reader(".xz", pack, lambda path: list(read_icons(path, None))),
    "manifest": Reader(".csv", manifest, lambda path: list(read_manifest(path, None))),
    "split": Reader(".csv", split_table, read_rows, ("split_null_byte.csv",)),
    "conditions": Reader(".csv", condition_table, read_condition_rows),
    "preset": Reader(
        ".yaml",
        yaml_files,
        lambda path: validate(PresetConfig, read_yaml(path), str(path)),
        ("preset_inf_122.yaml",),
    ),
    "JSON": Reader(
        ".json", text(b'{"a": [1, 2.5, {"b": null}]}'), lambda path: parse_json(path.read_bytes(), str(path))
    ),
    "log": Reader(".jsonl", text(b'{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n'), check_log),
    "classifier": Reader(
        ".safetensors",
        classifier,
        load_classifier,
        ("meta_list_classifier.safetensors", "shape_zero_2p63.safetensors"),
    ),
    "segmenter": Reader(".safetensors", segmenter, load_segmenter, ("segmenter_list.safetensors",)),
    "teacher": Reader(".safetensors", teacher, read_teacher, ("teacher_layers_1e8.safetensors",)),
    "shipped student": Reader(".safetensors", shipped, read_shipped),
    "speech encoder": Reader(
        ".safetensors", speech_encoder, lambda path: load_speech_encoder(path, torch.device("cpu"))
    ),
    "S2IGAN": Reader(".pth", flat_state, flat_s2igan_state),
    "features": Reader(".safetensors", feature_pack, read_features),
    "checkpoint": Reader(".pt", checkpoints, load_official),
    "network pickle": Reader(".pkl", pickles, load_official),
    "DAMSM": Reader(".safetensors", damsm, lambda path: load_damsm(path, torch.device("cpu"))),
    "words of captions": Reader(".pickle", words, read_words),
    "reference statistics": Reader(".npz", statistics, read_statistics),
    "published model": Reader(".pth", published_generator, lambda path: read_published("spade", path)),
    "BigGAN": Reader(".pth", flat_state, lambda path: import_biggan([path])),
}
