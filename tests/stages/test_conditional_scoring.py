"""A text row of Table 2, scored by the stages: R-precision by the preset's encoder, its controls, learned or not."""

from typing import Any

import pytest
import torch
import yaml
from tiny_encoders import DATASETS, TEST_CLASS, add_preset, prepared
from tiny_text import PLACES, captions

from kdx2i.data.rows import Split
from kdx2i.files import read_json, write_bytes
from kdx2i.plan import Leaf, Plan
from kdx2i.provenance import write_provenance
from kdx2i.stages import controls as controls_stage
from kdx2i.stages import encoder as encoder_stage
from kdx2i.stages import evaluate as evaluate_stage
from kdx2i.stages import figure as figure_stage
from kdx2i.stages.train import initial_method
from kdx2i.stages.training_outputs import network_tensors
from kdx2i.suite import make_plan
from kdx2i.tables.assemble import Absent
from kdx2i.tables.comparison import compare
from kdx2i.tables.gather import build_table
from kdx2i.tables.model import Table
from kdx2i.tables.published import CellName, read_published
from kdx2i.tables.render import render_csv, render_markdown
from kdx2i.tasks.opening import open_task
from kdx2i.training.checkpoint import save_tensors

BIRDS = DATASETS["damsm"]
CPU = torch.device("cpu")
TEXT = ("text2image", "cub")


def write_run(plan: Plan, leaf: Leaf[Any]) -> None:
    """Write the networks of an untrained method in the place of a trained run's."""
    task = open_task("text", Split(leaf.inputs["split"].folder), 64)
    method = initial_method(plan, leaf, task, CPU)
    save_tensors(leaf.file("networks.safetensors"), network_tensors({**method.networks, **method.averages}), {})
    for name in ("log.jsonl", "samples.png"):
        write_bytes(leaf.file(name), b"none")
    write_provenance(plan, leaf)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Return a plan whose text row, its controls and its encoder are made."""
    root = tmp_path_factory.mktemp("root")
    split = prepared(root, "damsm").split(BIRDS)
    add_preset(root, {BIRDS: "tiny-damsm"})
    path = root / "benchmarks" / "presets" / "tiny.yaml"
    own = yaml.safe_load(path.read_text())
    networks = {"ngf": 2, "ndf": 4, "noise_dim": 6, "condition_dim": 8, "modulation_width": 8}
    own["architectures"]["ssa_gan"] = {"networks": networks, "train": {"batch": 4}}
    own["evaluation"] = {"extractor": "efficientnet-lite0", "input_size": 32}
    path.write_text(yaml.safe_dump(own))
    drawn = root / "benchmarks" / "figures" / "figure12.yaml"
    figure = yaml.safe_load(drawn.read_text())
    figure["methods"] = [method for method in figure["methods"] if method["transfer"] == "scratch"]  # no student here
    drawn.write_text(yaml.safe_dump(figure))
    plan = make_plan(root, "tiny")
    assert plan.split(BIRDS).identity == split.identity
    encoder_stage.run(plan, plan.encoder("tiny-damsm"))
    evaluation = plan.evaluation(BIRDS, "ssa_gan", "scratch", 64, 0, "text")
    write_run(plan, evaluation.inputs["run"])
    evaluate_stage.run(plan, evaluation)
    controls_stage.run(plan, plan.controls(BIRDS, 64))
    return plan


def read(leaf: Leaf[Any]) -> Any:
    return read_json(leaf.file("metrics.json")) if leaf.provenance_path.is_file() else Absent("not made")


@pytest.fixture(scope="module")
def table(plan: Plan) -> Table:
    return build_table(plan, "table2", read)


def test_a_run_and_its_controls_are_retrieved_by_the_encoder(plan: Plan) -> None:
    document = read(plan.evaluation(BIRDS, "ssa_gan", "scratch", 64, 0, "text"))
    entry = document["values"]["R-precision"]
    assert (entry["candidates"], entry["chance"], entry["n_generated"]) == (2, 50.0, 2)
    assert entry["training"]["n_generated"] == entry["training"]["candidates"] > 2
    rows = read(plan.controls(BIRDS, 64))["values"]
    assert rows["blank"]["R-precision"]["value"] == 50.0
    assert set(rows) == {"real_vs_real", "conditions_shuffled", "blank", "noise"}


def test_whether_a_row_of_table_2_learned_is_known(table: Table) -> None:
    """The networks are untrained: no better than themselves."""
    row = table.parts[0].methods()[0]
    cell = row.cell("cub", "R-precision")
    assert cell.mean is not None and cell.learning is not None and not cell.learned
    assert cell.learning.metric == "KIDx100" and cell.learning.blank is not None
    assert cell.learning.trained == pytest.approx(cell.learning.untrained)


def test_a_metric_that_the_paper_does_not_print_is_a_column(plan: Plan, table: Table) -> None:
    published = read_published(plan.root, "table2")
    name = CellName(*TEXT, "SSA-GAN", "R-precision")
    assert name not in published and CellName(*TEXT, "SSA-GAN", "FID") in published
    text = render_markdown(table, published)
    assert "R-precision % ↑" in text and "Conditions shuffled" in text
    assert "real images with the captions or utterances of others are what following none scores" in text
    lines = [line for line in render_csv(table, published).splitlines() if "R-precision" in line and "SSA-GAN" in line]
    assert len(lines) == 1
    cells = {cell.metric: cell for cell in compare([table], {"table2": published}).cells if cell.label == "SSA-GAN"}
    assert cells["R-precision"].published is None and cells["R-precision"].reproduced is not None
    assert cells["FID"].published is not None


def test_a_figure_sets_captions_beside_what_was_drawn_of_them(plan: Plan) -> None:
    leaf = plan.figure("figure12")
    files = [leaf.file(name) for name in leaf.outputs]
    figure_stage.run(plan, leaf)
    first = [path.read_bytes() for path in files]
    caption = read_json(leaf.file("figure12.json"))
    assert caption["columns"] == ["real image", "SSA-GAN"] and not caption["left_out"]
    # Two test images, each with one of its own captions.
    assert caption["rows"] == ["1", "2"] and len(caption["below"]) == 2
    own = {text for place in PLACES for text in captions(TEST_CLASS, place)}
    assert {line.partition(": ")[2] for line in caption["below"]} <= own
    figure_stage.run(plan, leaf)
    assert [path.read_bytes() for path in files] == first
