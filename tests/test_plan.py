import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from repository import ROOT, settings_copy
from safetensors.numpy import save

from kdx2i.config import names_in
from kdx2i.errors import UserError
from kdx2i.files import sha256_file, write_bytes
from kdx2i.methods.catalogue import architectures
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.mode import Mode
from kdx2i.suite import catalogue, make_plan

# The default with every kind of result: its students are distilled, not shipped.
PRESET = "open-distil"
METHOD = ("open-birds", "stargan_v2", "kd", 64, 0)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(ROOT, PRESET)


def everything(plan: Plan) -> dict[str, Leaf]:
    return {leaf.name: leaf for name in plan.tables for leaf in plan.rendered(name).upstream()}


def identities(plan: Plan) -> dict[str, str]:
    return {name: leaf.identity for name, leaf in everything(plan).items()}


def changed(root: Path, preset: str = PRESET, **edits: Any) -> set[str]:
    """Return the addresses whose identity changes when dotted keys (`__`) of the preset are set."""
    before = identities(make_plan(root, preset))
    path = root / "benchmarks" / "presets" / f"{preset}.yaml"
    original = path.read_text()
    data = yaml.safe_load(original)
    for key, value in edits.items():
        node = data
        *steps, last = key.split("__")
        for step in steps:
            node = node.setdefault(int(step) if step.isdecimal() else step, {})
        node[last] = value
    path.write_text(yaml.safe_dump(data))
    after = identities(make_plan(root, preset))
    path.write_text(original)
    assert set(before) == set(after)
    return {name for name in before if before[name] != after[name] and "/tables" not in name}


@pytest.mark.parametrize("preset", names_in(ROOT / "benchmarks" / "presets"))
def test_every_preset_can_be_planned_and_addresses_are_unique(preset: str) -> None:
    plan = make_plan(ROOT, preset)
    for name in plan.tables:
        by_name: dict[str, str] = {}
        for leaf in plan.rendered(name).upstream():
            assert by_name.setdefault(leaf.name, leaf.identity) == leaf.identity
            json.dumps(leaf.spec.as_json(), allow_nan=False)
            assert not leaf.directory.is_absolute()


def test_table_1_has_every_row_and_says_why_a_cell_is_empty(plan: Plan) -> None:
    table = plan.table("table1")
    assert len(table.cells) == 11 * 3
    for cell in table.cells:
        assert bool(cell.leaves) == (cell.reason is None)
        if cell.row.architecture == "stargan_v2":
            assert cell.leaves and cell.actual_dataset == f"open-{cell.dataset}"
        elif cell.reason is not None:
            assert cell.reason.startswith("not yet computed: ")
            assert cell.row.architecture in cell.reason


@pytest.mark.parametrize("name", ["table3", "table4"])
def test_transferi2i_translates_between_two_classes(plan: Plan, name: str) -> None:
    assert plan.missing_part("transferi2i", "scratch", 64) is None
    cells = [cell for cell in plan.table(name).cells if cell.row.architecture == "transferi2i"]
    assert {cell.part for cell in cells} == {"dog2cat", "cat2dog"}
    for cell in cells:
        assert cell.reason is None and cell.leaves
        run = plan.run("open-felid2canid", "transferi2i", "scratch", 64, 0)
        assert run.spec.networks["backbone"] == "stylegan2" and run in list(cell.leaves[0].upstream())


def test_the_jobs_follow_from_the_tables(plan: Plan) -> None:
    kinds = [leaf.kind.name for leaf in plan.rendered("table1").upstream()]
    # Three datasets; one student a resolution for all datasets; one run for all modes of a method.
    computed = [cell for cell in plan.table("table1").cells if cell.leaves]
    resolutions = {cell.actual_resolution for cell in computed}
    methods = {(cell.row.architecture, cell.row.transfer, cell.resolution) for cell in computed}
    assert kinds.count("split") == 3
    assert kinds.count("distilled") == len(resolutions)
    assert kinds.count("run") == 3 * len(methods)
    assert kinds.count("evaluation") == len(computed)
    assert kinds.count("controls") == kinds.count("classifier") == 3 * len(resolutions)
    # With the shipped students of the default, nothing is distilled for the same table.
    shipped = [leaf.kind.name for leaf in make_plan(ROOT, "open").rendered("table1").upstream()]
    assert shipped == [kind for kind in kinds if kind != "distilled"]


def test_inputs_come_before_what_is_made_from_them(plan: Plan) -> None:
    seen: set[str] = set()
    for leaf in plan.rendered("figure3b").upstream():
        assert {upstream.name for upstream in leaf.inputs.values()} <= seen
        assert leaf.name not in seen
        seen.add(leaf.name)


def test_one_student_serves_every_dataset_and_both_modes_share_a_run(plan: Plan) -> None:
    birds, foods = plan.run(*METHOD), plan.run("open-foods", *METHOD[1:])
    assert birds.inputs["distilled"] is foods.inputs["distilled"]
    latent, reference = plan.evaluation(*METHOD, "latent"), plan.evaluation(*METHOD, "reference")
    assert latent.inputs["run"].identity == reference.inputs["run"].identity
    assert latent.identity != reference.identity


def test_transfers_differ_where_they_should(plan: Plan) -> None:
    scratch = plan.run("open-birds", "stargan_v2", "scratch", 64, 0)
    assert "distilled" not in scratch.inputs
    kd, b4 = plan.run(*METHOD), plan.run("open-birds", "stargan_v2", "kd-encoder-scratch", 64, 0)
    assert b4.inputs["distilled"] is kd.inputs["distilled"]
    assert b4.identity != kd.identity
    ablations = [plan.distilled("stargan_v2", name, 64, 0) for name in ("kd", "kd-l1", "kd-adv", "kd-no-mixing")]
    assert len({leaf.identity for leaf in ablations}) == len({leaf.name for leaf in ablations}) == 4


def test_directions_share_a_run_and_name_the_classes_of_the_stand_in(plan: Plan) -> None:
    cells = {cell.part: cell for cell in plan.table("table3").cells if cell.row.label == "Ours"}
    (there,), (back,) = cells["dog2cat"].leaves, cells["cat2dog"].leaves
    assert there.inputs["run"] is back.inputs["run"] and there.name.endswith("reference-dog2cat")
    assert (there.spec.guidance, there.spec.direction) == ("reference", ("canid", "felid"))
    assert back.spec.direction == ("felid", "canid")
    assert "classifier" not in there.inputs
    controls = plan.controls("open-felid2canid", 64)
    assert controls.spec.directions == {"cat2dog": ("felid", "canid"), "dog2cat": ("canid", "felid")}


def test_costly_metrics_are_computed_where_a_table_asks_for_them(plan: Plan) -> None:
    afhq = plan.evaluation("open-afhq", "stargan_v2", "kd", 64, 0, "latent")
    birds = plan.evaluation("open-birds", "stargan_v2", "kd", 64, 0, "latent")
    assert "classifier" not in afhq.inputs and afhq.spec.evaluation["diversity"] is not None
    assert "classifier" in birds.inputs and birds.spec.evaluation["diversity"] is None


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("latent", Mode("latent")),
        ("reference-dog2cat", Mode("reference", ("dog", "cat"))),
        ("reference-dog", Mode("reference-dog")),
        ("latent-2cat", Mode("latent-2cat")),
    ],
)
def test_a_mode_is_a_guidance_and_perhaps_a_direction(text: str, mode: Mode) -> None:
    assert Mode.parse(text) == mode


def test_seeds_are_leaves_of_their_own() -> None:
    plan = make_plan(ROOT, PRESET, [0, 1])
    cell = next(cell for cell in plan.table("table1").cells if cell.leaves)
    assert [leaf.spec.seed for leaf in cell.leaves] == [0, 1]
    assert len({leaf.identity for leaf in cell.leaves}) == 2
    # Another list of seeds changes no run, only the table.
    one = make_plan(ROOT, PRESET, [0])
    assert one.run(*METHOD).identity == plan.run(*METHOD).identity
    assert one.rendered("table1").identity != plan.rendered("table1").identity


def test_a_training_setting_changes_runs_and_what_is_made_from_them_only(tmp_path: Path) -> None:
    touched = changed(settings_copy(tmp_path), architectures__stargan_v2__train__learning_rate=0.123)
    assert touched == {
        name for name in identities(make_plan(tmp_path, PRESET)) if "/runs/" in name and "stargan_v2" in name
    }


def test_a_distillation_setting_leaves_the_baseline_alone(tmp_path: Path) -> None:
    touched = changed(settings_copy(tmp_path), architectures__stargan_v2__distill__learning_rate=0.123)
    expected = {
        name for name in identities(make_plan(tmp_path, PRESET)) if "/stargan_v2/" in name and "/scratch/" not in name
    }
    assert touched == expected


def test_a_setting_of_one_resolution_leaves_the_other_alone(tmp_path: Path) -> None:
    key = "architectures__stargan_v2__by_resolution__64__train"
    touched = changed(settings_copy(tmp_path), **{key: {"learning_rate": 0.123}})
    runs = {name for name in identities(make_plan(tmp_path, PRESET)) if "/runs/" in name and "/r64/" in name}
    assert touched == {name for name in runs if "/stargan_v2/" in name}


def test_an_evaluation_setting_trains_nothing(tmp_path: Path) -> None:
    touched = changed(settings_copy(tmp_path), evaluation__images_per_class=7)
    assert touched
    assert all(name.rsplit("/", 1)[-1].startswith(("latent", "reference")) or "/controls/" in name for name in touched)


@pytest.mark.parametrize(
    ("reading", "choice", "transfers", "rooms"),
    [
        ("l1_alignment", "all", {"kd-l1"}, {"distilled", "runs"}),
        ("l1_discriminator", "student", {"kd-l1"}, {"distilled", "runs"}),
        ("l1_discriminator", "kd", {"kd-l1"}, {"runs"}),
        ("adversarial_alignment", "encoders", {"kd-adv"}, {"distilled", "runs"}),
        (
            "discriminator",
            "random",
            {"kd-constant-condition", "kd-no-diversity", "kd", "kd-adv", "kd-no-mixing", "kd-encoder-scratch"},
            {"runs"},
        ),
    ],
)
def test_a_reading_of_an_ablation_changes_its_own_results_only(
    tmp_path: Path, reading: str, choice: str, transfers: set[str], rooms: set[str]
) -> None:
    touched = changed(settings_copy(tmp_path), **{f"transfers__{reading}": choice})
    expected = {
        name
        for name in identities(make_plan(tmp_path, PRESET))
        if transfers & set(name.split("/")) and rooms & set(name.split("/"))
    }
    assert touched == expected


def test_encoders_without_a_teacher_have_a_student_of_their_own(tmp_path: Path) -> None:
    method = ("stargan_v2", "kd-encoder-scratch", 64, 0)
    plan = make_plan(settings_copy(tmp_path), PRESET)
    assert plan.run("open-birds", *method).inputs["distilled"] is plan.distilled("stargan_v2", "kd", 64, 0)
    path = tmp_path / "benchmarks/presets/open-distil.yaml"
    path.write_text(path.read_text() + "transfers: {encoders_from_scratch: stage1}\n")
    plan = make_plan(tmp_path, PRESET)
    assert plan.run("open-birds", *method).inputs["distilled"] is plan.distilled(*method)


def test_the_discriminator_of_another_student_is_read_where_a_reading_says_so(tmp_path: Path) -> None:
    method = ("open-birds", "stargan_v2", "kd-l1", 64, 0)
    path = settings_copy(tmp_path) / "benchmarks/presets/open-distil.yaml"
    assert "discriminator" not in make_plan(tmp_path, PRESET).run(*method).inputs
    path.write_text(path.read_text() + "transfers: {l1_discriminator: kd}\n")
    plan = make_plan(tmp_path, PRESET)
    assert plan.run(*method).inputs["discriminator"] is plan.distilled("stargan_v2", "kd", 64, 0)
    path.write_text(path.read_text().replace("l1_discriminator: kd", "l1_discriminator: teacher"))
    with pytest.raises(UserError, match=r"preset open-distil, transfers: key `l1_discriminator`"):
        make_plan(tmp_path, PRESET)


def test_budgets_checkpoints_and_names_change_no_leaf(tmp_path: Path) -> None:
    edits = {"resources": {"gpus": 1}, "checkpoints": {"minutes": 1, "steps": 7}}
    assert changed(settings_copy(tmp_path), title="another title", **edits) == set()


def test_how_often_checkpoints_are_written_is_in_no_spec(tmp_path: Path) -> None:
    path = settings_copy(tmp_path) / "benchmarks" / "presets" / "open-smoke.yaml"
    path.write_text(f"{path.read_text()}checkpoints: {{minutes: 12345, steps: 54321}}\n")
    leaves = everything(make_plan(tmp_path, "open-smoke"))
    assert {leaf.kind.name for leaf in leaves.values()} >= {"distilled", "run", "evaluation", "table"}
    assert not any(re.search("checkpoint|12345|54321", json.dumps(leaf.spec.as_json())) for leaf in leaves.values())


def test_the_paper_preset_saves_every_quarter_of_an_hour_and_counts_no_steps() -> None:
    kept = make_plan(ROOT, "paper").preset.checkpoints
    assert (kept.minutes, kept.steps) == (15, None)


def test_a_teacher_file_changes_what_is_distilled_from_it(tmp_path: Path) -> None:
    settings_copy(tmp_path)
    teacher = tmp_path / "benchmarks/teachers/faces-r64-long.safetensors"
    write_bytes(teacher, save({"one": np.zeros(1)}))
    before = identities(make_plan(tmp_path, PRESET))
    write_bytes(teacher, save({"another": np.zeros(1)}))
    after = identities(make_plan(tmp_path, PRESET))
    touched = {name for name in before if before[name] != after[name]}
    assert "results/open-distil/distilled/stargan_v2/kd/r64/s0" in touched
    assert "results/open-distil/runs/open-birds/stargan_v2/kd/r64/s0/latent" in touched
    assert not any("/r32/" in name for name in touched)
    scratch = {name.split("/")[4] for name in touched if "/scratch/" in name}
    assert all(architectures()[architecture].starts_from_teacher for architecture in scratch)


def test_a_method_made_from_a_teacher_depends_on_its_file(tmp_path: Path) -> None:
    root = settings_copy(tmp_path)
    known = {**architectures(), "dmit": replace(architectures()["dmit"], starts_from_teacher=True)}
    changed_catalogue = replace(catalogue(), architectures=known)
    preset = root / "benchmarks/presets/open.yaml"
    data = yaml.safe_load(preset.read_text())
    data["architectures"]["dmit"] |= {"teacher": "faces", "by_resolution": {32: {"teacher": "other"}}}
    data["teachers"]["other"] = {32: "other.safetensors"}
    preset.write_text(yaml.safe_dump(data))
    identities = []
    for name in ("one", "another"):
        (root / "other.safetensors").write_bytes(save({name: np.zeros(1)}))
        plan = Plan(root, "open", None, changed_catalogue)
        run = plan.run("open-birds", "dmit", "scratch", 32, 0)
        assert run.spec.teacher_file == "other.safetensors"
        identities.append(run.identity)
    assert identities[0] != identities[1]
    assert plan.run("open-birds", "sdit", "scratch", 32, 0).spec.teacher_file is None


def test_an_official_checkpoint_in_its_own_format_is_a_teacher(tmp_path: Path) -> None:
    """DeepI2I's start at 256 px is a file of `torch.save`, bounded by its reader: planning asks for its hash alone."""
    plan = make_plan(settings_copy(tmp_path / "repository"), "paper")
    source = "weights/stylegan-256px-new.model"
    (plan.root / "weights").mkdir()
    write_bytes(plan.root / source, b"PK\x03\x04 no safetensors file")
    run = plan.run("cat2dog-200", "deepi2i", "scratch", 256, 0)
    assert run.files[source] == sha256_file(plan.root / source)


def test_a_dataset_changes_all_that_uses_it_and_nothing_else(tmp_path: Path) -> None:
    settings_copy(tmp_path)
    before = identities(make_plan(tmp_path, PRESET))
    path = tmp_path / "benchmarks/datasets/open-birds.yaml"
    data = yaml.safe_load(path.read_text())
    data["split"]["seed"] = 7
    path.write_text(yaml.safe_dump(data))
    after = identities(make_plan(tmp_path, PRESET))
    touched = {name for name in before if before[name] != after[name] and "/tables" not in name}
    assert touched == {name for name in before if "open-birds" in name and "open-birds-text" not in name}


def test_an_unknown_setting_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"architectures\.stargan_v2: the key `train\.lr` is unknown; the keys here"):
        changed(settings_copy(tmp_path), architectures__stargan_v2__train__lr=1)
    with pytest.raises(UserError, match=r"evaluation: the key `extractr` is unknown"):
        changed(settings_copy(tmp_path / "again"), evaluation__extractr="x")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda p: p.run("cats", "stargan_v2", "kd", 64, 0), "no dataset `cats`; it has open-afhq"),
        (lambda p: p.run("open-birds", "stargan_v3", "kd", 64, 0), "stargan_v3 is not implemented; .* stargan_v2"),
        (lambda p: p.run("open-birds", "stargan_v2", "kdd", 64, 0), "no transfer `kdd`; the transfers are kd"),
        (lambda p: p.run("open-birds", "stargan_v2", "kd", 48, 0), "no resolution 48; it has 32, 64"),
        (lambda p: p.evaluation(*METHOD, "upside-down"), "no mode `upside-down`; its modes are latent, reference"),
        (lambda p: p.distilled("stargan_v2", "scratch", 64, 0), "`scratch` has no stage 1"),
        (lambda p: p.distilled("stargan_v2", "kd-encoder-scratch", 64, 0), "starts from the student of `kd`"),
        (lambda p: p.split("cats"), "there is no dataset `cats`"),
        (lambda p: p.table("table99"), "there is no table `table99`"),
        (lambda p: make_plan(ROOT, PRESET, [1, 1]), "seeds must be different"),
    ],
)
def test_a_name_that_is_not_there_is_one_sentence(plan: Plan, call: Any, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        call(plan)
    assert "\n" not in str(caught.value)


def test_every_address_leads_back_to_its_leaf(plan: Plan) -> None:
    leaves = [*everything(plan).values(), plan.comparison(), plan.claims()]
    for leaf in leaves:
        assert plan.leaf_at(leaf.provenance_path.relative_to(ROOT)).identity == leaf.identity


@given(parts=st.lists(st.sampled_from(["results", "open", "runs", "tables", "r64", "s0", "sx", "x"]), max_size=9))
def test_no_other_path_is_an_address(plan: Plan, parts: list[str]) -> None:
    with pytest.raises(UserError):
        plan.leaf_at(Path(*parts, "provenance.json"))


def test_every_leaf_has_a_command_that_names_it(plan: Plan) -> None:
    words = plan.command(plan.evaluation(*METHOD, "latent"))
    assert " ".join(words) == (
        "kdx2i evaluate --preset open-distil --dataset open-birds --architecture stargan_v2 --transfer kd"
        " --resolution 64 --seed 0 --mode latent"
    )
    assert plan.command(plan.rendered("table1")) == [
        "kdx2i", "table", "--preset", "open-distil", "--seeds", "0", "table1",
    ]  # fmt: skip
    assert plan.command(plan.split("open-birds"))[-2:] == ["--dataset", "open-birds"]
    assert "--seed" not in plan.command(plan.controls("open-birds", 64))


def test_the_budget_line_compares_with_the_paper() -> None:
    lines = {(b.transfer, b.resolution): b for b in make_plan(ROOT, PRESET).table("table1").budget}
    kd, scratch = lines["kd", 256], lines["scratch", 256]
    assert (kd.distill_paper, kd.train_paper, kd.distill_batch_paper) == (20000, 100000, 2)
    assert kd.train == scratch.train and scratch.distill is None
    paper = {(b.transfer, b.resolution): b for b in make_plan(ROOT, "paper").table("table1").budget}
    assert all(b.train == b.train_paper and b.distill == b.distill_paper for b in paper.values())


@pytest.mark.parametrize("preset", [name for name in names_in(ROOT / "benchmarks" / "presets") if "paper" not in name])
def test_all_methods_of_a_table_have_one_budget_of_generator_updates(preset: str) -> None:
    plan = make_plan(ROOT, preset)
    for name in plan.tables:
        budgets = {(line.train, line.train_batch) for line in plan.table(name).budget}
        assert len(budgets) <= 1, f"{name}: {budgets}"
