"""Working copies with a tiny random teacher, made-up results, and what Snakemake would do there."""

import re
import subprocess
import sys
from pathlib import Path

import torch
import yaml
from repository import clone, fabricate, fabricate_all, run, snakemake

from kdx2i.files import sha256_file, write_json
from kdx2i.plan import Plan
from kdx2i.plan.kinds import SPLIT
from kdx2i.stages import compare as compare_stage
from kdx2i.stages import table as table_stage
from kdx2i.suite import make_plan
from kdx2i.teacher.stylegan2 import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from kdx2i.teacher.stylegan2.weights import save_teacher

CONFIG = ["--config", "preset=open-smoke"]
SIZES = {
    "z_dim": (128, 8),
    "w_dim": (128, 8),
    "mapping_layers": (4, 2),
    "channel_base": (1024, 256),
    "channel_max": (128, 8),
}
"""Sizes of the shipped teacher, as the preset has them, and of the tiny one."""


def tiny_teacher(path: Path) -> None:
    """Write a random teacher at 32 px, and what stands beside a shipped one: the graph is tested, not the images."""
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(32, z_dim=8, w_dim=8, num_layers=2, channel_base=256, channel_max=8))
    discriminator = Discriminator(DiscriminatorConfig(32, channel_base=256, channel_max=8))
    save_teacher(path, generator, discriminator, {"note": "random"})
    write_json(path.with_suffix(".provenance.json"), {"sha256": sha256_file(path)})


def working_copy(target: Path) -> Path:
    """Clone the repository and put the tiny teacher in the place of the shipped one."""
    clone(target)
    tiny_teacher(target / "benchmarks/teachers/faces-r32-long.safetensors")
    preset = target / "benchmarks/presets/open-smoke.yaml"
    text = preset.read_text()
    for name, (shipped, tiny) in SIZES.items():
        text = text.replace(f"{name}: {shipped}", f"{name}: {tiny}")
    preset.write_text(text)
    return target


def pretend_finished(root: Path) -> Plan:
    """Make up every result behind Table 1 and make the table and the comparison from them."""
    plan = make_plan(root, "open-smoke")
    fabricate_all(plan, "table1")
    table_stage.run(plan, plan.rendered("table1"))
    compare_stage.run(plan, plan.comparison(["table1"]))
    return plan


def jobs(root: Path, target: str = "table1", *config: str) -> set[str]:
    """Return what a dry run would do, by the messages of the rules; the target's own message left out."""
    done = snakemake(root, target, "--cores", "2", "-n", *CONFIG, *config)
    assert done.returncode == 0, done.stdout + done.stderr
    messages = re.findall(r"^Job \d+: (.*)$", done.stdout + done.stderr, flags=re.MULTILINE)
    return {message for message in messages if not message.endswith("complete")}


def git(root: Path, *words: str) -> str:
    """Run git in a copy, as nobody in particular; it does not try to compress 110 MB of weights."""
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    who += ["-c", "core.compression=0"]
    return subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True, text=True).stdout


def dvc(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run(root, sys.executable, "-m", "dvc", *words)


def said(done: subprocess.CompletedProcess[str]) -> str:
    screen = done.stdout + done.stderr
    assert done.returncode == 0, screen
    return screen


def make_up(plan: Plan) -> None:
    """Make up everything behind Table 1 but the split, which a stage of DVC has made."""
    for leaf in plan.table("table1").upstream():
        if leaf.kind is not SPLIT:
            fabricate(plan, leaf)


def split_birds_only(root: Path) -> None:
    """Leave one of the splits in `dvc.yaml`: to make all of them takes minutes."""
    pipeline = yaml.safe_load((root / "dvc.yaml").read_text())
    stages = {name: pipeline["stages"][name] for name in ("split", "results")}
    stages["split"]["matrix"] = {"dataset": ["open-birds"]}
    others = [path for path in stages["results"]["deps"] if path.startswith("data/open-") and "birds" not in path]
    stages["results"]["deps"] = [path for path in stages["results"]["deps"] if path not in others]
    (root / "dvc.yaml").write_text(yaml.safe_dump({**pipeline, "stages": stages}, sort_keys=False))


def repository_of_dvc(root: Path) -> None:
    """Make a repository in which `dvc repro` has made Table 1, committed, pushed to the local remote `root`/../store.

    All but the split is made up, and so is what lies there of another preset, `other`.
    """
    working_copy(root)
    (root / "params.yaml").write_text(yaml.safe_dump({"preset": "open-smoke", "seeds": None, "targets": "table1"}))
    split_birds_only(root)
    (root / "dvc.lock").unlink()
    # Of the preset of the experiment there are made-up results, too.
    other = {"name": "other", "title": "the same again", "extends": "open-smoke"}
    (root / "benchmarks/presets/other.yaml").write_text(yaml.safe_dump(other))
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "start")
    said(dvc(root, "remote", "add", "-d", "store", str(root.parent / "store")))
    said(dvc(root, "repro", "split"))
    for preset in ("open-smoke", "other"):
        make_up(make_plan(root, preset))
    screen = said(dvc(root, "repro"))
    assert "train stargan_v2" not in screen and "table1 is complete" in screen
    git(root, "add", "-A")
    git(root, "commit", "-qm", "results")
    said(dvc(root, "push"))
