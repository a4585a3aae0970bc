"""Copies of the settings share the shipped weights, and a test that would change them for all is found."""

import shutil
from pathlib import Path

import pytest
from repository import ROOT, assert_weights_whole, settings_copy

from kdx2i.files import sha256_file, write_bytes

WEIGHTS = "benchmarks/features/open-drawings.safetensors"


def test_weights_are_shared_and_a_replaced_file_is_of_one_copy_alone(tmp_path: Path) -> None:
    first, second = (settings_copy(tmp_path / name) / WEIGHTS for name in ("first", "second"))
    assert first.samefile(second) and not first.samefile(ROOT / WEIGHTS)
    write_bytes(first, b"other")
    assert sha256_file(second) == sha256_file(ROOT / WEIGHTS)
    assert_weights_whole()


def test_settings_are_of_each_copy(tmp_path: Path) -> None:
    first, second = (settings_copy(tmp_path / name) / "benchmarks/presets/open.yaml" for name in ("first", "second"))
    first.write_text("")
    assert second.read_bytes() == (ROOT / "benchmarks/presets/open.yaml").read_bytes()


def test_a_write_into_shared_weights_is_found(tmp_path: Path) -> None:
    shared = settings_copy(tmp_path) / WEIGHTS
    try:
        shared.write_bytes(b"other")
        with pytest.raises(AssertionError, match=r"open-drawings\.safetensors is shared by all tests"):
            assert_weights_whole()
    finally:
        shutil.copy2(ROOT / WEIGHTS, shared)
