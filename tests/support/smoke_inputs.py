"""What `paper-smoke` needs: tiny archives in the published layouts, random weights of the published sizes.

    python tests/support/smoke_inputs.py ROOT [TABLE ...]

makes whatever `kdx2i data status --preset paper-smoke` lists as missing in the repository at ROOT, for the tables named
or for all. Weights that authors publish are written in their layout and converted by the suite's own commands, where
it has one.
"""

import io
import os
import pickle
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from kdx2i.encoders.damsm.image_encoder import CNNEncoder  # noqa: E402
from kdx2i.encoders.damsm.text_encoder import RNNEncoder  # noqa: E402
from kdx2i.encoders.importing import import_encoder  # noqa: E402
from kdx2i.encoders.speech.encoder import SpeechEncoder  # noqa: E402
from kdx2i.encoders.speech.image_networks import image_dimension  # noqa: E402
from kdx2i.encoders.speech.networks import Classifier, ImageHead, SpeechNetwork  # noqa: E402
from kdx2i.encoders.speech.settings import SpeechEncoderSizes  # noqa: E402
from kdx2i.errors import UserError  # noqa: E402
from kdx2i.inspection.preflight import Need, needs  # noqa: E402
from kdx2i.methods.cocosnet_v2.perceptual import VGG19  # noqa: E402
from kdx2i.stages.teacher import import_teacher  # noqa: E402
from kdx2i.suite import make_plan  # noqa: E402
from kdx2i.teacher import biggan, stylegan1, stylegan2  # noqa: E402
from kdx2i.teacher.stylegan2.weights import save_teacher  # noqa: E402

PRESET = "paper-smoke"
Members = Iterable[tuple[str, bytes]]
COLOURS = ("red", "green", "blue", "white", "black", "yellow", "brown", "grey", "orange", "purple")
WORDS = ("this", "bird", "flower", "has", "a", "beak", "and", "petals", "with", "small", "wings", *COLOURS)
VOCABULARY = 5450
"""Words of AttnGAN's `captions.pickle` of birds."""


def picture(label: int, number: int, side: int = 72) -> bytes:
    """Return a JPEG of `side` x `side` px: blocks around the colour of its class, another one for each number."""
    draw = np.random.default_rng((label, number))
    base = np.random.default_rng(label).integers(40, 215, 3)
    coarse = np.clip(base + draw.integers(-40, 41, (6, 6, 3)), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BILINEAR).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def captions(label: int, number: int, thing: str) -> bytes:
    """Return ten captions of an image, one a line."""
    names = [COLOURS[(label + number + step) % len(COLOURS)] for step in range(10)]
    return "".join(f"this {thing} has a {name} beak and {names[0]} wings\n" for name in names).encode()


def class_folders(pattern: str, labels: Sequence[str], each: int) -> Iterator[tuple[str, bytes]]:
    """Yield `each` images of every class; the pattern has `{label}` and `{number}`."""
    for place, label in enumerate(labels):
        for number in range(each):
            yield pattern.format(label=label, number=f"{number:04d}"), picture(place, number)


def roles(labels: Sequence[str], **folders: str) -> Iterator[tuple[str, bytes]]:
    """Yield five images of each class in each of two folders, all of them different."""
    for place, label in enumerate(labels):
        for side, folder in enumerate(folders.values()):
            for number in range(5):
                yield f"{folder}/{label}/{label}_{number:06d}.jpg", picture(place, 5 * side + number)


def animal_faces() -> Members:
    return class_folders("animal-faces/{label}/{label}_{number}.jpg", ("n02085620", "n02085782", "n02085936"), 6)


def nabirds() -> Members:
    return class_folders("nabirds/images/{label}/{number}.jpg", ("0295", "0296", "0297"), 10)


def foods() -> Members:
    return class_folders("UECFOOD256/{label}/{number}.jpg", ("1", "2", "3"), 10)


def cat2dog() -> Members:
    return roles(("cat", "dog"), train="train", test="test")


def afhq() -> Members:
    return roles(("cat", "dog", "wild"), train="afhq/train", val="afhq/val")


def _birds() -> Iterator[tuple[str, int, int]]:
    for place, label in enumerate(("001.Albatross", "002.Auklet", "003.Crow", "004.Cuckoo", "005.Finch")):
        for number in range(5):
            yield f"{label}/{label.partition('.')[2]}_{number:04d}", place, number


def cub() -> Members:
    yield from ((f"CUB_200_2011/images/{name}.jpg", picture(*which)) for name, *which in _birds())
    names = [name for name, *_ in _birds()]
    listed = "".join(f"{n} {name}.jpg\n" for n, name in enumerate(names, 1))
    boxes = "".join(f"{n} 12.0 12.0 40.0 40.0\n" for n in range(1, len(names) + 1))
    yield "CUB_200_2011/images.txt", listed.encode()
    yield "CUB_200_2011/bounding_boxes.txt", boxes.encode()


def cub_captions() -> Members:
    return ((f"cvpr2016_cub/text_c10/{name}.txt", captions(*which, "bird")) for name, *which in _birds())


def flowers() -> Members:
    return ((f"jpg/image_{n + 1:05d}.jpg", picture(n // 5, n % 5)) for n in range(25))


def flower_captions() -> Members:
    names = (f"cvpr2016_flowers/text_c10/class_{n // 5 + 1:05d}/image_{n + 1:05d}.txt" for n in range(25))
    return ((name, captions(n // 5, n % 5, "flower")) for n, name in enumerate(names))


def faces() -> Members:
    """Yield faces to train (from 0) and to test (from 28000), with masks of 512 px."""
    parts = {"skin": (90, 60, 420, 440), "hair": (20, 60, 130, 440), "nose": (230, 220, 300, 290), "l_eye": (190,) * 4}
    for number in (0, 1, 2, 3, 4, 5, 28000, 28001, 28002, 28003):
        yield f"CelebAMask-HQ/CelebA-HQ-img/{number}.jpg", picture(0, number)
        for part, (top, left, bottom, right) in parts.items():
            drawn = np.zeros((512, 512, 3), dtype=np.uint8)
            drawn[top : bottom + 40, left + number % 7 : right + 60] = 255
            buffer = io.BytesIO()
            Image.fromarray(drawn).save(buffer, "PNG")
            folder = f"CelebAMask-HQ/CelebAMask-HQ-mask-anno/{number // 2000}"
            yield f"{folder}/{number:05d}_{part}.png", buffer.getvalue()


ARCHIVES: dict[str, Callable[[], Members]] = {
    "animal-faces.tar.gz": animal_faces,
    "nabirds.tar.gz": nabirds,
    "UECFOOD256.zip": foods,
    "cat2dog-200.zip": cat2dog,
    "afhq.zip": afhq,
    "CUB_200_2011.tgz": cub,
    "cvpr2016_cub.tar.gz": cub_captions,
    "102flowers.tgz": flowers,
    "cvpr2016_flowers.tar.gz": flower_captions,
    "CelebAMask-HQ.zip": faces,
}


def write_archive(path: Path, members: Members) -> None:
    """Write a zip or a gzipped tar of files by name."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            for name, data in members:
                packed.writestr(name, data)
        return
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def stylegan2_teacher(resolution: int) -> Callable[[Path], object]:
    """Return a writer of a StyleGAN2 of NVIDIA's configuration `paper256`: 16384 / r channels at r px, up to 512."""

    def write(path: Path) -> None:
        sizes = {"channel_base": 16384, "conv_clamp": 256.0}
        generator = stylegan2.Generator(stylegan2.GeneratorConfig(resolution, **sizes))
        discriminator = stylegan2.Discriminator(stylegan2.DiscriminatorConfig(resolution, **sizes))
        save_teacher(path, generator, discriminator, {"note": "random, made by the tests"})

    return write


def biggan_teacher(path: Path) -> None:
    """Write the two files of BigGAN-PyTorch at 128 px, and convert them."""
    networks = {
        "G_ema": biggan.Generator(biggan.GeneratorConfig()),
        "D": biggan.Discriminator(biggan.DiscriminatorConfig()),
    }
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        files = [Path(folder) / f"{name}.pth" for name in networks]
        for file, network in zip(files, networks.values(), strict=True):
            torch.save(network.state_dict(), file)
        import_teacher(files, path)


def stylegan1_model(path: Path) -> None:
    """Write DeepI2I's start at 256 px, as its authors give it."""
    config = stylegan1.StyleGAN1Config()
    generator, discriminator = stylegan1.Generator(config), stylegan1.Discriminator(config)
    average = stylegan1.Generator(config)
    average.load_state_dict(generator.state_dict())
    states = {"generator": generator, "g_running": average, "discriminator": discriminator}
    torch.save({name: network.state_dict() for name, network in states.items()}, path)


def text_encoder(path: Path) -> None:
    """Write AttnGAN's three files of birds, and convert them."""
    words = ["<end>", *WORDS, *(f"word{n}" for n in range(VOCABULARY - len(WORDS) - 1))]
    table = dict(enumerate(words))
    with tempfile.TemporaryDirectory(dir=path.parent) as name:
        files = [Path(name) / file for file in ("text_encoder200.pth", "image_encoder200.pth", "captions.pickle")]
        torch.save(RNNEncoder(VOCABULARY, 300, 256).state_dict(), files[0])
        torch.save(CNNEncoder(256).state_dict(), files[1])
        files[2].write_bytes(pickle.dumps([[[1, 2]], [[3]], table, {word: n for n, word in table.items()}], 2))
        import_encoder(files, path)


def speech_encoder(path: Path) -> None:
    """Write a speech encoder of S2IGAN's sizes, with a packaged network in the place of torchvision's Inception."""
    sizes = SpeechEncoderSizes(image_network="efficientnet-lite0")
    image = ImageHead(image_dimension(sizes.image_network), sizes.embedding)
    SpeechEncoder(sizes, SpeechNetwork(sizes), image, Classifier(sizes.embedding, 82)).save(path)


def vgg19(path: Path) -> None:
    """Write CoCosNet v2's VGG19."""
    torch.save(VGG19().state_dict(), path)


WEIGHTS: dict[str, Callable[[Path], object]] = {
    "ffhq-r128.safetensors": stylegan2_teacher(128),
    "ffhq-r256.safetensors": stylegan2_teacher(256),
    "afhq-r256.safetensors": stylegan2_teacher(256),
    "biggan-r128.safetensors": biggan_teacher,
    "stylegan-256px-new.model": stylegan1_model,
    "cub-text.safetensors": text_encoder,
    "oxford-102-speech.safetensors": speech_encoder,
    "vgg19_conv.pth": vgg19,
}


def make(root: Path, tables: Sequence[str] = ()) -> list[Path]:
    """Make what the tables (none: all) of the preset need and is not there, and return the files made.

    `UserError` for a need that this module does not know how to make.
    """
    torch.manual_seed(0)
    made = []
    for need in _missing(root, tables):
        path = file_of(root, need)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name in ARCHIVES:
            write_archive(path, ARCHIVES[path.name]())
        elif path.name in WEIGHTS:
            WEIGHTS[path.name](path)
        else:
            continue  # The speech encoder, once it is made, says which network it needs.
        made.append(path)
    strange = [need.name for need in _missing(root, tables)]
    if strange:
        raise UserError(f"{PRESET} needs {strange[0]}, which tests/support/smoke_inputs.py cannot make")
    return made


def file_of(root: Path, need: Need) -> Path:
    """Return the file of a need; the name of a network has it in brackets."""
    return root / need.name.rpartition("(")[2].rstrip(")")


def _missing(root: Path, tables: Sequence[str]) -> list[Need]:
    plan = make_plan(root, PRESET)
    return [need for need in needs(plan, tables or plan.tables) if not need.there]


if __name__ == "__main__":
    for file in make(Path(sys.argv[1]).resolve(), sys.argv[2:]):
        print(f"{file.stat().st_size / 2**20:8.1f} MiB  {os.fspath(file)}")
