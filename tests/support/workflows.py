"""Working copies with a tiny random teacher, made-up results, and what Snakemake would do there."""

import re
import subprocess
from pathlib import Path

import torch
from repository import clone, fabricate_all, snakemake

from kdx2i.files import sha256_file, write_json
from kdx2i.plan import Plan
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
    """Run git in a copy, as nobody in particular."""
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True, text=True).stdout
