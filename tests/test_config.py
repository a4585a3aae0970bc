from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from repository import ROOT, settings_copy

from kdx2i.config import (
    DatasetConfig,
    find_root,
    load_dataset,
    load_preset,
    load_protocol,
    load_table,
    merged,
    names_in,
    parse_seeds,
    validate,
)
from kdx2i.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return settings_copy(tmp_path)


def edit(path: Path, **changes: object) -> None:
    data = yaml.safe_load(path.read_text())
    data.update(changes)
    path.write_text(yaml.safe_dump(data, allow_unicode=True))


@pytest.mark.parametrize("name", names_in(ROOT / "benchmarks" / "datasets"))
def test_every_dataset_of_the_repository_is_valid(name: str) -> None:
    assert load_dataset(ROOT, name).name == name


@pytest.mark.parametrize("name", names_in(ROOT / "benchmarks" / "tables"))
def test_every_table_of_the_repository_is_valid(name: str) -> None:
    table = load_table(ROOT, name)
    assert table.name == name
    assert all(table.datasets_of(part.name) and table.metrics_of(part.name) for part in table.parts)


@pytest.mark.parametrize("name", names_in(ROOT / "benchmarks" / "presets"))
def test_every_preset_of_the_repository_is_valid_and_the_protocol_has_a_choice(name: str) -> None:
    preset = load_preset(ROOT, name)
    register = load_protocol(ROOT)
    assert set(register.choices(preset)) == {entry.id for entry in register.entries}


def test_a_protocol_choice_may_be_made_by_resolution() -> None:
    register = load_protocol(ROOT)
    chosen = [register.choices(load_preset(ROOT, name))["stylegan-backbone"] for name in ("open", "paper")]
    assert chosen == ["stylegan2", "stylegan1"]


def test_a_protocol_choice_that_another_key_holds_is_read_from_there(root: Path) -> None:
    preset = load_preset(root, "open")
    edit(root / "benchmarks/presets/open.yaml", evaluation={**preset.evaluation, "preprocessing": "tf1"})
    assert load_protocol(root).choices(load_preset(root, "open"))["resize-filter"] == "tf1"


def test_extends_merges_nested_keys(root: Path) -> None:
    base, longer = load_preset(root, "open"), load_preset(root, "open-long")
    assert longer.datasets == base.datasets
    assert longer.architectures["stargan_v2"].networks == base.architectures["stargan_v2"].networks
    assert longer.seeds != base.seeds


def test_extends_replaces_datasets_and_resolutions(root: Path) -> None:
    edit(root / "benchmarks/presets/open-long.yaml", datasets={"birds": "open-birds"}, resolutions={256: 64})
    preset = load_preset(root, "open-long")
    assert (preset.datasets, preset.resolutions) == ({"birds": "open-birds"}, {256: 64})


def test_a_preset_that_extends_itself_is_refused(root: Path) -> None:
    edit(root / "benchmarks/presets/open.yaml", extends="open-long")
    with pytest.raises(UserError, match="leads back"):
        load_preset(root, "open-long")


def test_a_preset_may_be_a_file_elsewhere(root: Path) -> None:
    data = yaml.safe_load((root / "benchmarks/presets/open-smoke.yaml").read_text())
    (root / "mine.yaml").write_text(yaml.safe_dump({**data, "name": "mine"}))
    assert load_preset(root, "mine.yaml").name == "mine"
    assert load_preset(root, str(root / "mine.yaml")).name == "mine"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"datsets": {}}, r"open\b.*`datsets` is unknown; the keys here are .*datasets"),
        ({"seeds": []}, "key `seeds`"),
        ({"seeds": [1, 1]}, "seed twice"),
        ({"seeds": [-1]}, r"key `seeds\.0`"),
        ({"name": "other"}, "must be `open`"),
        ({"protocol": {"nothing": "x"}}, "no entry `nothing`"),
        ({"resources": {"threads": 0}}, r"resources\.threads"),
        ({"checkpoints": {"minutes": 0}}, r"checkpoints\.minutes"),
        ({"checkpoints": {"steps": 0}}, r"checkpoints\.steps"),
        ({"teachers": {}}, "names the teacher `[a-z]+`; the teachers of this preset are"),
        ({"extends": "nowhere"}, r"nowhere\.yaml does not exist"),
    ],
)
def test_a_mistake_in_a_preset_is_one_sentence_with_its_key(
    root: Path, changes: dict[str, object], sentence: str
) -> None:
    edit(root / "benchmarks/presets/open.yaml", **changes)
    with pytest.raises(UserError, match=sentence) as caught:
        load_preset(root, "open")
    assert "\n" not in str(caught.value)


def test_unknown_names_list_the_known_ones(root: Path) -> None:
    with pytest.raises(UserError, match=r"no preset `opne`; the presets are open, open-distil, open-long"):
        load_preset(root, "opne")
    with pytest.raises(UserError, match=r"no table `table0`; the tables are .*table1"):
        load_table(root, "table0")
    with pytest.raises(UserError, match=r"no dataset `cats`; the datasets are .*open-birds"):
        load_dataset(root, "cats")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [1", "not a readable YAML"),
        ("- 1\n- 2\n", "must hold a YAML mapping"),
        ("name: a\nname: b\n", "stands twice"),
        ("x: !!python/object/apply:os.system ['true']\n", "not a readable YAML"),
    ],
)
def test_a_broken_or_hostile_yaml_is_refused(root: Path, text: str, sentence: str) -> None:
    (root / "benchmarks/presets/open.yaml").write_text(text)
    with pytest.raises(UserError, match=sentence):
        load_preset(root, "open")


def test_a_row_must_name_a_part_of_its_table(root: Path) -> None:
    path = root / "benchmarks/tables/figure3b.yaml"
    data = yaml.safe_load(path.read_text())
    data["rows"][0]["part"] = "nowhere"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(UserError, match="names the part `nowhere`; the parts are reference"):
        load_table(root, "figure3b")


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ({"rule": "manifest", "train": 3}, "takes no `train`"),
        ({"rule": "per-class"}, "needs `train`"),
        ({"rule": "per-class", "train": 0.5}, "whole numbers"),
        ({"rule": "fraction", "train": 0.9, "test": 0.2}, "at most 1"),
    ],
)
def test_the_sizes_of_a_split_must_fit_its_rule(rule: dict[str, object], sentence: str) -> None:
    data = load_dataset(ROOT, "open-birds").model_dump(mode="json")
    with pytest.raises(UserError, match=sentence):
        validate(DatasetConfig, {**data, "split": rule}, "here")


def test_the_root_is_found_from_below_and_by_variable(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KDX2I_ROOT", raising=False)
    assert find_root(root / "benchmarks" / "tables") == root
    with pytest.raises(UserError, match="not inside the kdx2i repository"):
        find_root(Path("/"))
    monkeypatch.setenv("KDX2I_ROOT", str(root))
    assert find_root(Path("/")) == root
    monkeypatch.setenv("KDX2I_ROOT", str(root / "benchmarks"))
    with pytest.raises(UserError, match="KDX2I_ROOT"):
        find_root()


json_trees = st.recursive(
    st.integers() | st.text(max_size=3) | st.none(),
    lambda children: st.dictionaries(st.sampled_from("abc"), children, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(st.sampled_from("abc"), json_trees, max_size=3)


@given(mappings, mappings)
def test_merging_keeps_what_is_not_replaced(base: dict[str, object], over: dict[str, object]) -> None:
    result = merged(base, over)
    assert set(result) == {*base, *over}
    assert merged(result, over) == result
    assert merged({}, base) == base == merged(base, {})
    for key, value in over.items():
        if not isinstance(value, dict):
            assert result[key] == value


@given(st.lists(st.integers(0, 99), max_size=5))
def test_seeds_are_read_back(seeds: list[int]) -> None:
    assert parse_seeds(", ".join(map(str, seeds))) == (seeds or None)


@pytest.mark.parametrize("text", ["a", "1,-2", "1;2", "1.5"])
def test_seeds_that_are_no_numbers_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="whole numbers"):
        parse_seeds(text)
