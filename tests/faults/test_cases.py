"""Each hostile file that was found ends in one short sentence: quickly, in bounded memory, with nothing left behind."""

import io
import os
import pickle
import resource
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import pytest
from foreign_readers import CASES, READERS, SVG, classifier, drawing, feature_pack, pickles

from kdx2i.cli.app import guarded
from kdx2i.config import load_preset, read_yaml
from kdx2i.data.archive import looks_like_image, read_members, zip_entries
from kdx2i.data.decode import read_rgb
from kdx2i.data.svg import Icon, rasterise
from kdx2i.errors import UserError
from kdx2i.identity import file_hash
from kdx2i.inspection.leftovers import check_work
from kdx2i.metrics.images.feature_store import FeatureStore
from kdx2i.teacher.official.pickle_reader import MalformedPickleError, only, read_pickle
from kdx2i.teacher.official.stylegan2_files import load_official
from kdx2i.teacher.official.torch_files import CHECKPOINT

FOUND = [(name, case) for name, reader in READERS.items() for case in reader.cases]


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def refused(path: Path, name: str, capsys: pytest.CaptureFixture[str], seconds: float = 5.0) -> str:
    """Read a file as the command line would; return its sentence after the exit status and the cost were checked."""
    before, started, files = peak(), time.process_time(), sorted(path.parent.iterdir())
    assert guarded(lambda: READERS[name].read(path)) == 2
    assert time.process_time() - started < seconds
    assert peak() - before < 256
    assert sorted(path.parent.iterdir()) == files
    sentence = capsys.readouterr().err.removeprefix("error: ")
    assert len(sentence.rstrip("\n")) <= 300
    assert sentence.count("\n") == 1
    assert path.name in sentence
    return sentence


def written(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize(("name", "case"), FOUND, ids=[case for _, case in FOUND])
def test_every_file_that_was_found_is_refused_in_one_sentence(
    name: str, case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(written(tmp_path, case, (CASES / case).read_bytes()), name, capsys)


def test_every_case_has_its_reader() -> None:
    assert sorted(case for _, case in FOUND) == sorted(path.name for path in CASES.iterdir())


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 200_000,
        "{a: " * 50_000,
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "a: &a [*a]",
        "a: .nan",
        "a: 1.0e+400",
        "a: " + "9" * 5000,
        "a: " + "9" * 50,
        "a: 2001-99-99",
        'a: !!binary "x"',
        "a: !!python/object/apply:os.system [x]",
        "? {a: b}\n: c",
    ],
    ids=range(12),
)
def test_settings_that_nest_multiply_or_never_end_are_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(written(tmp_path, "a.yaml", text), "preset", capsys)


def test_aliases_within_the_bounds_are_read(tmp_path: Path) -> None:
    assert read_yaml(written(tmp_path, "a.yaml", "a: &a {x: [1, 2]}\nb: [*a, *a]\n"))["b"] == [{"x": [1, 2]}] * 2


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe.png")
    return tmp_path / "pipe.png"


def test_only_plain_files_are_read(tmp_path: Path, pipe: Path) -> None:
    """Reading a pipe would wait for a writer and reading a device would never end: a thread would hang here."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "x.png").symlink_to("/dev/zero")

    def read_all() -> None:
        for path in (pipe, Path("/dev/zero"), folder):
            for read in (read_rgb, read_yaml, file_hash, READERS["split"].read, load_official):
                with pytest.raises(UserError, match="no plain file"):
                    read(path)
        with pytest.raises(UserError, match="no plain file"):
            list(read_members(folder))
        finished.append(True)

    finished: list[bool] = []
    thread = threading.Thread(target=read_all, daemon=True)
    thread.start()
    thread.join(60)
    assert finished


def test_a_path_that_no_system_takes_is_one_sentence(tmp_path: Path) -> None:
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(UserError, match="cannot be read"):
            file_hash(tmp_path / name)


def test_a_preset_may_not_extend_what_is_no_preset(tmp_path: Path) -> None:
    (tmp_path / "benchmarks" / "presets").mkdir(parents=True)
    for value in ("[a]", "../../x", "/dev/zero"):
        path = written(tmp_path, "a.yaml", f"extends: {value}")
        with pytest.raises(UserError, match="`extends` must name a preset"):
            load_preset(tmp_path, str(path))


def test_a_sparse_member_is_refused_before_its_holes_are_read(tmp_path: Path) -> None:
    with tarfile.open(CASES / "sparse_holes_400.tar.gz") as archive:
        assert archive.next().issparse()  # type: ignore[union-attr]
    with pytest.raises(UserError, match="has holes"):
        next(read_members(CASES / "sparse_holes_400.tar.gz"))


def windows_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("cats\\a.png", "dogs\\b.png"):
            entry = zipfile.ZipInfo("x")
            entry.filename = entry.orig_filename = name
            archive.writestr(entry, b"x")
    return path


def test_backslashes_of_a_zip_are_slashes(tmp_path: Path) -> None:
    path = windows_zip(tmp_path / "a.zip")
    assert [name for name, _ in read_members(path)] == ["cats/a.png", "dogs/b.png"]
    with zipfile.ZipFile(path) as archive:
        assert [name for name, _ in zip_entries(archive, path)] == ["cats/a.png", "dogs/b.png"]


def zip_with(path: Path, name: str, *, link: bool) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"x")
        entry = zipfile.ZipInfo(name)
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o120777 << 16 if link else 0
        archive.writestr(entry, b"target" if link else bytes(80 * 2**20))
    return path


@pytest.mark.parametrize("link", [True, False])
def test_a_large_or_linked_member_refuses_an_archive_only_where_it_is_wanted(tmp_path: Path, link: bool) -> None:
    path = zip_with(tmp_path / "a.zip", "video.mp4", link=link)
    assert [name for name, _ in read_members(path, wanted=looks_like_image)] == ["a.png"]
    with zipfile.ZipFile(path) as archive:
        assert [name for name, _ in zip_entries(archive, path)] == ["a.png"]
    with pytest.raises(UserError, match=r"video\.mp4"):
        list(read_members(path))
    with pytest.raises(UserError, match=r"b\.png"):
        list(read_members(zip_with(tmp_path / "b.zip", "b.png", link=link), wanted=looks_like_image))


def test_a_linked_member_of_a_tar_is_passed_over_where_it_is_not_wanted(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("notes.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("a.png"))
    assert [name for name, _ in read_members(tmp_path / "a.tar", wanted=looks_like_image)] == ["a.png"]


COPIES = '<g id="a0"><path d="M0 0L9 9"/></g>' + "".join(
    f'<g id="a{n}">' + f'<use href="#a{n - 1}"/>' * 10 + "</g>" for n in range(1, 20)
)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("<g>" * 10_000 + "</g>" * 10_000, "nests 10001 elements"),
        ('<g id="a"><use href="#a"/></g>', "refers to itself"),
        (COPIES, "draws more than"),
        ('<path stroke="red" stroke-dasharray="0.0001" d="M0 0L64 64"/>' * 100, "draws more than"),
        ('<g stroke-dasharray="0.0001"><path d="M0 0L64 64"/></g>', "hands dashes down"),
    ],
)  # fmt: skip
def test_a_drawing_is_bounded_before_it_is_drawn(body: str, words: str) -> None:
    started = time.process_time()
    with pytest.raises(UserError, match=words):
        rasterise(Icon("s", "n", 64, 64, body), 64)
    assert time.process_time() - started < 5


def test_a_rich_drawing_is_drawn() -> None:
    assert rasterise(Icon("s", "n", 64, 64, SVG), 32).getcolors() is not None
    assert drawing()


def frames(*opcodes: bytes) -> bytes:
    return b"\x80\x04" + b"".join(opcodes) + b"."


SHARED = b")" + b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(60))


@pytest.mark.parametrize(
    "data",
    [
        frames(b")" + b"\x85" * 150_000),
        frames(b"]" + b"".join(b"]" for _ in range(1000)) + b"a" * 1000),
        frames(SHARED),
        frames(b"]q\x00h\x00a"),
        frames(b"\x8b" + (1000).to_bytes(4, "little") + b"\x01" * 1000),
        frames(b"cnumpy\ndtype\n" + SHARED + b"\x85R"),
        frames(
            b"c_codecs\nencode\nq\x00X" + (350_000).to_bytes(4, "little") + b"a" * 350_000
            + b"X\x06\x00\x00\x00latin1\x86q\x01" + b"h\x00h\x01R" * 70_000
        ),
        frames(b"(" * 1_100_000),
    ],
    ids=["deep", "lists", "shared", "circle", "number", "message", "copies", "marks"],
)  # fmt: skip
def test_pickles_are_bounded_before_anything_uses_what_they_hold(data: bytes) -> None:
    before, started = peak(), time.process_time()
    with pytest.raises(MalformedPickleError) as caught:
        read_pickle(io.BytesIO(data), only(CHECKPOINT, "a file"))
    assert len(str(caught.value)) <= 300
    assert time.process_time() - started < 20
    assert peak() - before < 512


def test_a_network_pickle_with_shared_tuples_for_options_is_one_sentence(tmp_path: Path) -> None:
    shared: tuple[object, ...] = ()
    for _ in range(60):
        shared = (shared, shared)
    data = pickles()[0]
    assert load_official(written(tmp_path, "a.pkl", data)).generator
    content = pickle.dumps({"G_ema": shared, "D": shared})
    with pytest.raises(UserError, match="nested too deeply, or too many"):
        load_official(written(tmp_path, "b.pkl", content))


def test_a_feature_pack_that_states_more_images_than_it_holds_counts_as_absent(tmp_path: Path) -> None:
    data = feature_pack()[0]
    images = [bytes([n]) * 32 for n in range(3)]
    written(tmp_path, "key-0.safetensors", data)
    assert all(pixels in FeatureStore(tmp_path, "key", {"features": 4}) for pixels in images)
    for count in (b"1000000000000000000", b"-1", b"[]", b"9" * 30):
        length = int.from_bytes(data[:8], "little")
        header = data[8 : 8 + length].replace(b"[3, 32]", b"[" + count + b", 32]")
        written(tmp_path, "key-0.safetensors", len(header).to_bytes(8, "little") + header + data[8 + length :])
        assert images[0] not in FeatureStore(tmp_path, "key", {"features": 4})


@pytest.mark.parametrize("line", ["{}\n", "[1]}\n", '{"step": "x"}\n', '{"step": 1e400}\n', "}\n", "[" * 5000 + "}\n"])
def test_a_foreign_line_in_a_log_is_one_sentence(line: str, tmp_path: Path) -> None:
    good = '{"step": 10, "loss": 1.5}\n'
    written(tmp_path, "log.jsonl", good + '{"step": 20, "lo')
    check_work(tmp_path)
    written(tmp_path, "log.jsonl", good + line)
    with pytest.raises(UserError, match="line 2, is no step of a training"):
        check_work(tmp_path)


def test_a_checkpoint_that_no_training_wrote_is_removed_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_work(tmp_path)
    whole = written(tmp_path, "checkpoint.safetensors", classifier()[0])
    check_work(tmp_path)
    assert whole.is_file()
    for damaged in ((CASES / "shape_zero_2p63.safetensors").read_bytes(), classifier()[0][:-5]):
        path = written(tmp_path, "checkpoint.safetensors", damaged)
        check_work(tmp_path)
        assert not path.exists()
        assert "the training goes on without it" in capsys.readouterr().err
