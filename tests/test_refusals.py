"""What the machine refuses in the middle of a command is one sentence, and what is a fault of ours is not."""

from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from kdx2i.cli.app import guarded
from kdx2i.files import write_text
from kdx2i.training.checkpoint import save_tensors

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")


def raising(error: BaseException) -> None:
    raise error


REFUSED = [(28, "No space left"), (30, "Read-only"), (5, "Input/output"), (13, "Permission")]


@pytest.mark.parametrize(("number", "words"), REFUSED)
def test_a_refusal_of_the_system_is_one_sentence(number: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(lambda: raising(OSError(number, "so", "the/place"))) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: the/place cannot be read or written: {words}")
    assert said.count("\n") == 1


@needs_full
def test_a_full_disk_below_a_file_without_a_name_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def write() -> None:
        with FULL.open("w") as handle:
            handle.write("x" * 100_000)

    assert guarded(write) == 2
    assert "No space left on device; what was finished before is whole" in capsys.readouterr().err


@needs_full
def test_safetensors_error_is_one_sentence_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    monkeypatch.setattr("kdx2i.training.checkpoint.save_file", lambda *_, **__: raising(full))
    assert guarded(lambda: save_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(1)}, {})) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_where_a_file_belongs_is_no_refusal_of_the_machine(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        guarded(lambda: write_text(tmp_path, "x"))
    with pytest.raises(FileNotFoundError):
        guarded(lambda: (tmp_path / "a").read_text())
    with pytest.raises(ZeroDivisionError):
        guarded(lambda: 1 // 0)
