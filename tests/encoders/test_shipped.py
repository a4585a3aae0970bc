"""The encoders that the open presets name: files of their recipes, which know held-out conditions above chance."""

from pathlib import Path

import pytest

from kdx2i.config import load_preset, names_in
from kdx2i.encoders.matching import load_matcher
from kdx2i.encoders.recipes import load_encoder_recipe
from kdx2i.files import read_json, sha256_file
from kdx2i.training.determinism import pick_device

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks" / "encoders"


def test_the_open_preset_names_every_shipped_encoder() -> None:
    preset = load_preset(ROOT, "open")
    named = {str(path): dataset for dataset, path in preset.encoders.items()}
    recipes = {f"benchmarks/encoders/{name}.safetensors": name for name in names_in(FOLDER)}
    assert set(named) == set(recipes)
    for path, name in recipes.items():
        assert load_encoder_recipe(ROOT, name).dataset == named[path]
        assert named[path] in preset.datasets.values()


@pytest.mark.parametrize("name", names_in(FOLDER))
def test_a_shipped_encoder_is_that_of_its_recipe_and_knows_more_than_chance(name: str) -> None:
    path, stated = FOLDER / f"{name}.safetensors", read_json(FOLDER / f"{name}.provenance.json")
    assert sha256_file(path) == stated["sha256"]
    made_by = {key: value for key, value in stated["encoder"].items() if key != "checkpoint_every"}  # a former setting
    assert made_by == load_encoder_recipe(ROOT, name).as_json()
    pool = stated["metrics"]["retrieval"]["pool"]
    assert pool["right"] > pool["chance_95"] > pool["chance"]
    assert load_matcher(path, pick_device()) is not None
