"""Damaged files are read or end in one short sentence: a bounded part of what `tests/faults/fuzz.py` does."""

import random
import time
import warnings
from pathlib import Path

import pytest
from foreign_readers import CASES, READERS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutated

from kdx2i.bounds import SENTENCE
from kdx2i.errors import UserError

SLOW = ("checkpoint", "network pickle", "BigGAN", "teacher", "segmenter")
SECONDS = 20.0


@pytest.mark.parametrize("name", sorted(READERS))
def test_the_samples_are_read_and_the_cases_are_not(name: str, tmp_path: Path) -> None:
    reader = READERS[name]
    for number, data in enumerate(reader.samples()):
        path = tmp_path / f"key-{number}{reader.suffix}"
        path.write_bytes(data)
        if name not in ("shipped student", "BigGAN"):  # their samples lack what no reader of this size needs
            reader.read(path)
    for case in reader.cases:
        with pytest.raises(UserError):
            reader.read(CASES / case)


@pytest.mark.parametrize("name", sorted(READERS))
def test_damage_is_read_or_ends_in_one_sentence(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    reader = READERS[name]
    whole = [*reader.samples(), *((CASES / case).read_bytes() for case in reader.cases)]
    path = tmp_path_factory.mktemp("fuzz") / f"key-0{reader.suffix}"

    @settings(
        max_examples=8 if name in SLOW else 25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(seed=st.integers(0, 2**32))
    def check(seed: int) -> None:
        draw = random.Random(seed)
        path.write_bytes(mutated(draw.choice(whole), draw))
        started = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reader.read(path)
        except UserError as error:
            assert len(str(error)) <= SENTENCE
        assert time.process_time() - started < SECONDS

    check()
