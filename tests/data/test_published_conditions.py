"""Published sets with captions or masks, and those of teachers, read from tiny archives in their published layouts."""

import io

import numpy as np
import pytest
from PIL import Image

from kdx2i.config import load_dataset
from kdx2i.config.models import ExpectedCounts
from kdx2i.data.bird_crops import crop_box
from kdx2i.data.conditions.reading import Conditions
from kdx2i.data.rows import Split
from kdx2i.data.split import check_split, make_split
from kdx2i.errors import UserError

TEN = "".join(f"a bird with {number} feathers\n" for number in range(10)).encode()
BIRDS = {"001.Albatross": 3, "002.Auklet": 4, "005.Crow": 2}


@pytest.fixture
def placed(root, tmp_path):
    """A function that returns a shipped dataset with archives put where it looks for them, and smaller counts."""

    def place(name, write, archives, **changes):
        config = load_dataset(root, name)
        for file, members in archives.items():
            path = tmp_path / str(config.source.files[file].path)
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, members)
        split = config.split.model_copy(update=changes.pop("split", {}))
        keys = {"expects": ExpectedCounts(), "split": split, **changes}
        return config.model_copy(update=keys)

    return place


def birds(encoded, captions=TEN, boxes="{n} 2.0 1.0 4.0 4.0"):
    images, texts, names, places = {}, {"cvpr2016_cub/allclasses.txt": b"001.Albatross\n"}, [], []
    for label, count in BIRDS.items():
        for number in range(count):
            name, n = f"{label}/Bird_{number:04d}_{len(names)}", len(names) + 1
            images[f"CUB_200_2011/images/{name}.jpg"] = encoded(n, "JPEG")
            texts[f"cvpr2016_cub/text_c10/{name}.txt"] = captions
            names.append(f"{n} {name}.jpg")
            places.append(boxes.format(n=n))
    images["CUB_200_2011/images.txt"] = "\n".join(names).encode()
    images["CUB_200_2011/bounding_boxes.txt"] = "\n".join(places).encode()
    images["CUB_200_2011/classes.txt"] = b"1 001.Albatross\n"
    return {"archive": images, "captions": texts}


TINY_BIRDS = {"images": "CUB_200_2011/images", "boxes": True, "test_classes": [1]}


def split_of(config, tmp_path):
    make_split(config, tmp_path, tmp_path / "split", progress=False)
    assert check_split(config, tmp_path / "split") == []
    return Split(tmp_path / "split")


def test_birds_have_their_captions_boxes_and_classes(placed, tar_of, tmp_path, encoded):
    config = placed("cub", tar_of, birds(encoded), options=TINY_BIRDS, split={"train": 2})
    split = split_of(config, tmp_path)
    assert {row.label for row in split.select("test")} == {"001.Albatross"} and len(split.select("test")) == 3
    assert {row.label: 2 for row in split.select("train")} == {"002.Auklet": 2, "005.Crow": 2}
    assert len(split.select("train")) == 4
    row = split.select("test")[0]
    assert Conditions(split).captions(row) == TEN.decode().splitlines()
    left, top, right, bottom = crop_box((2, 1, 4, 4), 12, 10)
    number = int(row.source.rpartition("_")[2].removesuffix(".jpg")) + 1
    with Image.open(split.dataset_dir / row.image) as cut, Image.open(io.BytesIO(encoded(number, "JPEG"))) as whole:
        assert np.array_equal(np.asarray(cut), np.asarray(whole)[top:bottom, left:right])


def test_the_whole_of_cub_is_asked_for(placed, tar_of, tmp_path, encoded, root):
    config = placed("cub", tar_of, birds(encoded), expects=load_dataset(root, "cub").expects)
    with pytest.raises(UserError, match=r"no image of the class number 4, which is to test \(49 such classes\)"):
        make_split(config, tmp_path, tmp_path / "split", progress=False)
    config = config.model_copy(update={"options": TINY_BIRDS, "split": config.split.model_copy(update={"train": 2})})
    with pytest.raises(UserError, match="gives 3 classes, but 200 are published"):
        make_split(config, tmp_path, tmp_path / "split", progress=False)


@pytest.mark.parametrize(
    ("captions", "boxes", "sentence"),
    [
        (b"one\n", "{n} 2 1 4 4", "has 1 captions, but the dataset takes 10"),
        (TEN, "{n} 2 1 4", "no box that can be read for image 1"),
        (TEN, "{n} 2 1 nan 4", "no box that can be read for image 1"),
        (TEN, "{n} 200 100 4 4", "does not lie in the image"),
    ],
)
def test_bad_captions_and_boxes_are_refused_and_nothing_is_left(
    placed, tar_of, tmp_path, encoded, captions, boxes, sentence
):
    config = placed("cub", tar_of, birds(encoded, captions, boxes), options=TINY_BIRDS, split={"train": 2})
    with pytest.raises(UserError, match=sentence):
        make_split(config, tmp_path, tmp_path / "split", progress=False)
    assert [path for path in (tmp_path / "split").rglob("*") if path.is_file()] == []


def test_an_image_without_captions_or_a_box_is_named(placed, tar_of, tmp_path, encoded):
    archives = birds(encoded)
    lost = "cvpr2016_cub/text_c10/005.Crow/Bird_0001_8.txt"
    config = placed(
        "cub", tar_of, archives | {"captions": {k: v for k, v in archives["captions"].items() if k != lost}},
        options=TINY_BIRDS, split={"train": 2},
    )  # fmt: skip
    with pytest.raises(UserError, match=r"no captions of 'CUB_200_2011/images/005.Crow/Bird_0001_8.jpg'"):
        make_split(config, tmp_path, tmp_path / "split", progress=False)
    archives["archive"]["CUB_200_2011/bounding_boxes.txt"] = b"1 2 1 4 4\n"
    config = placed("cub", tar_of, archives, options=TINY_BIRDS, split={"train": 2})
    with pytest.raises(UserError, match="no box of"):
        make_split(config, tmp_path, tmp_path / "split", progress=False)


def test_captions_that_are_not_utf8_lose_those_letters(placed, tar_of, tmp_path, encoded):
    odd = TEN.replace(b"a bird", b"a bird\xff\xfe") + b"\n\n"
    config = placed("cub", tar_of, birds(encoded, odd), options=TINY_BIRDS, split={"train": 2})
    split = split_of(config, tmp_path)
    assert Conditions(split).captions(split.select("test")[0]) == TEN.decode().splitlines()


def test_flowers_get_their_classes_from_their_captions(placed, tar_of, tmp_path, encoded):
    images = {f"jpg/image_{number:05d}.jpg": encoded(number, "JPEG") for number in range(1, 7)}
    texts = {
        f"cvpr2016_flowers/text_c10/class_{number % 3 + 20:05d}/image_{number:05d}.txt": TEN for number in range(1, 7)
    }
    config = placed(
        "oxford-102", tar_of, {"archive": images, "captions": texts}, split={"train": 1},
        task="text", conditions=("captions",),
        options={"images": "jpg", "class_folders": False, "test_classes": [20]},
    )  # fmt: skip
    split = split_of(config, tmp_path)
    assert sorted(row.source for row in split.select("test")) == ["jpg/image_00003.jpg", "jpg/image_00006.jpg"]
    assert {row.label for row in split.select("train")} == {"class_00021", "class_00022"}


def mask(box, size=8, mode="RGB"):
    drawn = np.zeros((size, size), dtype=np.uint8)
    drawn[box] = 255
    buffer = io.BytesIO()
    Image.fromarray(drawn).convert(mode).save(buffer, format="PNG")
    return buffer.getvalue()


def faces(encoded, more=()):
    # Masks come in any order: hair before skin, and the eye before both.
    masks = {"l_eye": np.s_[2:3, 2:3], "hair": np.s_[0:4, :], "skin": np.s_[1:8, 1:7]}
    members = {f"CelebAMask-HQ/CelebA-HQ-img/{number}.jpg": encoded(number, "JPEG") for number in (0, 7, 2001, 28000)}
    for number in (0, 7, 2001, 28000):
        for part, box in masks.items():
            folder = f"CelebAMask-HQ/CelebAMask-HQ-mask-anno/{number // 2000}"
            members[f"{folder}/{number:05d}_{part}.png"] = mask(box)
    return {"archive": members | dict(more)}


def test_masks_are_merged_in_the_published_order(placed, zip_of, tmp_path, encoded):
    config = placed("celebamask-hq", zip_of, faces(encoded), split={"train": 2}, options={"side": 8})
    split = split_of(config, tmp_path)
    assert [row.source.rpartition("/")[2] for row in split.select("test")] == ["28000.jpg"]
    assert len(split.select("train")) == 2
    expected = np.zeros((8, 8), dtype=np.uint8)
    for part, box in (("skin", np.s_[1:8, 1:7]), ("l_eye", np.s_[2:3, 2:3]), ("hair", np.s_[0:4, :])):
        expected[box] = config.labels.index(part)
    maps = Conditions(split).label_maps(split.select("test"), 8)
    assert np.array_equal(maps[0].numpy(), expected)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"CelebAMask-HQ/CelebAMask-HQ-mask-anno/14/28000_beard.png": mask(np.s_[:])}, "a mask of 'beard'"),
        ({"CelebAMask-HQ/CelebAMask-HQ-mask-anno/14/28000_nose.png": mask(np.s_[:], 9)}, "9 x 9 pixels"),
        ({"CelebAMask-HQ/CelebAMask-HQ-mask-anno/14/28000_nose.png": b"no image"}, "not an image that can be read"),
        ({"CelebAMask-HQ/CelebA-HQ-img/28001.jpg": b"x"}, "no mask of 'CelebAMask-HQ/CelebA-HQ-img/28001.jpg'"),
        ({"again/CelebA-HQ-img/7.jpg": b"x"}, "the image 7 twice"),
        ({"../CelebA-HQ-img/8.jpg": b"x"}, "leaves the archive"),
    ],
)
def test_bad_masks_are_refused_and_nothing_is_left(placed, zip_of, tmp_path, encoded, more, sentence):
    config = placed("celebamask-hq", zip_of, faces(encoded, more), split={"train": 2}, options={"side": 8})
    with pytest.raises(UserError, match=sentence):
        make_split(config, tmp_path, tmp_path / "split", progress=False)
    assert [path for path in (tmp_path / "split").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("around", ["", "afhq/"])
@pytest.mark.parametrize("name", ["afhq", "afhq-500"])
def test_both_layouts_of_afhq_are_read(root, placed, zip_of, tmp_path, encoded, around, name):
    members = {
        f"{around}{folder}/{label}/{number}.jpg": encoded(9 * side + 3 * place + number, "JPEG")
        for side, folder in enumerate(("train", "val"))
        for place, label in enumerate(("cat", "dog", "wild"))
        for number in range(3)
    }
    smaller = {} if name == "afhq" else {"train": 2, "test": 3}
    config = placed(name, zip_of, {"archive": members}, split=smaller)
    split = split_of(config, tmp_path)
    assert len(split.select("train")) == (9 if name == "afhq" else 6) and len(split.select("test")) == 9
    # Without any `wild` to test.
    assert load_dataset(root, name).expects.test == 1500
    short = {file: data for file, data in members.items() if "val/wild" not in file}
    config = placed(name, zip_of, {"archive": short}, split=smaller, expects=ExpectedCounts(classes=3, test=9))
    with pytest.raises(UserError, match=r"its source gives 6 test images, but 9 are published .*: is it whole\?"):
        make_split(config, tmp_path, tmp_path / "split", progress=False)
    if name == "afhq-500":
        short = {file: data for file, data in members.items() if "val/dog/1" not in file}
        config = placed(name, zip_of, {"archive": short}, split=smaller)
        with pytest.raises(UserError, match=r"class 'dog' has 2 images in the source's test part.* 3 to test"):
            make_split(config, tmp_path, tmp_path / "split", progress=False)


@pytest.mark.parametrize("packed", [True, False])
def test_ffhq_trains_a_teacher_from_a_zip_or_a_folder(placed, zip_of, tmp_path, encoded, packed):
    members = {f"thumbnails128x128/{n // 2:02d}000/{n:05d}.png": encoded(n) for n in range(6)}

    def write(path, members):
        if packed:
            return zip_of(path, members)
        for name, data in members.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
        return path

    split = split_of(placed("ffhq", write, {"archive": members}), tmp_path)
    assert len(split.select("train")) == len(split.select("all")) == 6
