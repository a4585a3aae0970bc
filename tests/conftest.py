"""What all tests share: the builders of `tests/support` importable by name, and how hypothesis runs."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent / "support"))

# One thread for each worker, before any library counts the cores: more would only fight for them.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

# A loaded machine is no failure: neither an example nor making one has a time limit.
settings.register_profile("kdx2i", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kdx2i")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first: at the end, one worker would go on alone with it."""
    items.sort(key=lambda item: item.get_closest_marker("workflow") is None)


@pytest.fixture(autouse=True)
def fixed_draws() -> None:
    """Start each test from the same state of torch's generator, whatever ran before it in the process."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def shared_weights_stay_whole() -> Iterator[None]:
    """Name the test that writes into weights which all copies of the settings share."""
    yield
    for name in ("repository", "tests.support.repository"):
        if name in sys.modules:
            sys.modules[name].assert_weights_whole()
