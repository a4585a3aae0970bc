"""The kinds of result, each stated once.

From this table follow the addresses of results and their reading, the command lines, the stage that runs, the rules
of the workflow, what `restore`, `verify` and `reference` look at, and what DVC keeps (`dvc.yaml` is checked against
it). A new kind is one entry here, its spec, its planner in `kdx2i.plan.core` and its stage.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Literal

from kdx2i.errors import UserError

NAME = r"[a-z0-9][a-z0-9._-]*"
NUMBER = r"\d+"
FIELDS: Mapping[str, str] = {
    "dataset": NAME,
    "teacher": NAME,
    "student": NAME,
    "features": NAME,
    "encoder": NAME,
    "architecture": NAME,
    "transfer": NAME,
    "resolution": NUMBER,
    "seed": NUMBER,
    "mode": NAME,
    "table": NAME,
    "figure": NAME,
}
"""What an address may be made of, in the order of the command line's options, and how each is spelled."""

POSITIONAL = ("teacher", "student", "features", "encoder", "table", "figure")
"""The fields that a command line takes as arguments; the others are options."""

METHOD = "{architecture}/{transfer}/r{resolution}/s{seed}"
Address = Mapping[str, str | int]


@dataclass(frozen=True)
class Kind:
    """One kind of result.

    `stage`: the module of `kdx2i.stages` that makes it; `command`: its sub-command and rule (`rule`, where a target
    has that name); `flow`: the word of the flow whose protocol choices it depends on. `address`: its folder below the
    repository, with `FIELDS` in braces and `{results}` for the preset's folder. `outputs`: the files that it consists
    of; `variants`: more files that some of them have, by the variant's name. `provenance`: the file that is written
    last.
    `work`: `training` asks for the preset's threads and GPUs, `short` for one core. `gathers`: it is made of any
    number of results, all in one role. `seeded`: its command takes `--seeds`. `evidence`: the outputs that a
    committed reference keeps, those of `first_seed` for the first seed only. `dvc`: how `dvc.yaml` keeps its folder:
    `persist` (made again where not current), `fresh` (removed before each run), `metrics`, or not at all.
    """

    name: str
    stage: str
    command: str
    flow: str
    address: str
    outputs: tuple[str, ...]
    message: str
    variants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    provenance: str = "provenance.json"
    work: Literal["training", "short"] = "short"
    priority: int = 0
    gathers: bool = False
    seeded: bool = False
    evidence: tuple[str, ...] = ()
    first_seed: tuple[str, ...] = ()
    dvc: Literal["persist", "fresh", "metrics"] | None = None
    rule: str = ""

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The fields that make up an address of this kind, in the order of `FIELDS`."""
        place = "".join((self.address, self.provenance))
        return tuple(name for name in FIELDS if f"{{{name}}}" in place)

    def folder(self, results: Path, address: Address) -> Path:
        """Return the folder of an address, relative to the repository's root."""
        return Path(self.address.format(results=results.as_posix(), **address))

    def files(self, address: Address, variant: str = "") -> tuple[str, ...]:
        """Return the names of the outputs of an address."""
        return tuple(name.format(**address) for name in (*self.outputs, *self.variants.get(variant, ())))

    def read(self, results: Path, provenance: Path) -> dict[str, str | int] | None:
        """Return the address whose provenance file is at a path relative to the root; None for another kind's path."""
        template = re.escape(f"{self.address}/{self.provenance}").replace(r"\{", "{").replace(r"\}", "}")
        groups = {name: f"(?P<{name}>{pattern})" for name, pattern in FIELDS.items()}
        match = re.fullmatch(template.format(results=re.escape(results.as_posix()), **groups), provenance.as_posix())
        if match is None:
            return None
        return {name: int(text) if FIELDS[name] == NUMBER else text for name, text in match.groupdict().items()}

    @property
    def kept(self) -> str:
        """The first folder below the repository's root, or below the preset's results, that holds this kind."""
        parts = PurePosixPath(self.address).parts
        fixed = [part for part in parts if "{" not in part or part == "{results}"]
        return "/".join(fixed)


SPLIT = Kind(
    "split",
    stage="split",
    command="split",
    flow="split",
    address="data/{dataset}",
    outputs=("split.csv",),
    variants={"conditioned": ("conditions.csv",)},
    message="split {dataset}",
    priority=50,
)
TEACHER = Kind(
    "teacher",
    stage="teacher",
    command="teacher",
    flow="teacher",
    address="{results}/teachers/{teacher}",
    outputs=("teacher.safetensors", "log.jsonl", "samples.png"),
    message="teacher {teacher}",
    work="training",
    priority=45,
    dvc="persist",
)
FEATURES = Kind(
    "features",
    stage="features",
    command="features",
    flow="evaluate",
    address="{results}/features/{features}/s{seed}",
    outputs=("network.safetensors", "metrics.json", "log.jsonl", "samples.png"),
    message="feature network {features}, seed {seed}",
    work="training",
    priority=45,
    dvc="persist",
    rule="feature_network",
)
ENCODER = Kind(
    "encoder",
    stage="encoder",
    command="encoder",
    flow="encoder",
    address="{results}/encoders/{encoder}",
    outputs=("encoder.safetensors", "metrics.json", "log.jsonl", "samples.png"),
    message="encoder {encoder}",
    work="training",
    priority=45,
    evidence=("metrics.json",),
    dvc="persist",
)
DISTILLED = Kind(
    "distilled",
    stage="distill",
    command="distill",
    flow="distill",
    address=f"{{results}}/distilled/{METHOD}",
    outputs=("student.safetensors", "log.jsonl", "samples.png", "metrics.json"),
    message="distill {architecture} {transfer} at {resolution} px, seed {seed}",
    work="training",
    priority=40,
    evidence=("log.jsonl", "metrics.json"),
    first_seed=("samples.png",),
    dvc="persist",
)
STUDENT = Kind(
    "student",
    stage="distill",
    command="student",
    flow="distill",
    address="{results}/students/{student}",
    outputs=DISTILLED.outputs,
    message="student {student}, to be shipped",
    work="training",
    priority=40,
    evidence=DISTILLED.evidence,
    dvc="persist",
)
MEASURED = Kind(
    "measured",
    stage="measure",
    command="measure",
    flow="distill",
    address="{results}/measured/{architecture}/{transfer}/r{resolution}",
    outputs=("metrics.json",),
    message="measure the shipped student {architecture} {transfer} at {resolution} px",
    work="training",
    priority=35,
    evidence=("metrics.json",),
    dvc="persist",
)
RUN = Kind(
    "run",
    stage="train",
    command="train",
    flow="train",
    address=f"{{results}}/runs/{{dataset}}/{METHOD}",
    outputs=("networks.safetensors", "log.jsonl", "samples.png"),
    message="train {architecture} {transfer} on {dataset} at {resolution} px, seed {seed}",
    work="training",
    priority=30,
    evidence=("log.jsonl",),
    dvc="persist",
)
EVALUATION = Kind(
    "evaluation",
    stage="evaluate",
    command="evaluate",
    flow="evaluate",
    address=f"{{results}}/runs/{{dataset}}/{METHOD}/{{mode}}",
    outputs=("metrics.json", "samples.png"),
    message="evaluate {architecture} {transfer} on {dataset} at {resolution} px, seed {seed}, {mode}",
    work="training",
    priority=20,
    evidence=("metrics.json",),
    first_seed=("samples.png",),
    dvc="persist",
)
CONTROLS = Kind(
    "controls",
    stage="controls",
    command="controls",
    flow="evaluate",
    address="{results}/controls/{dataset}/r{resolution}",
    outputs=("metrics.json",),
    message="control values of {dataset} at {resolution} px",
    work="training",
    priority=10,
    evidence=("metrics.json",),
    dvc="persist",
)
CLASSIFIER = Kind(
    "classifier",
    stage="classifier",
    command="classifier",
    flow="evaluate",
    address="{results}/classifiers/{dataset}/r{resolution}",
    outputs=("classifier.safetensors",),
    message="classifier of {dataset} at {resolution} px",
    work="training",
    priority=10,
    dvc="persist",
)
SEGMENTER = Kind(
    "segmenter",
    stage="segmenter",
    command="segmenter",
    flow="evaluate",
    address="{results}/segmenters/{dataset}/r{resolution}",
    outputs=("segmenter.safetensors", "metrics.json", "samples.png"),
    message="segmenter of {dataset} at {resolution} px",
    work="training",
    priority=10,
    evidence=("metrics.json",),
    dvc="persist",
)
TABLE = Kind(
    "table",
    stage="table",
    command="table",
    flow="table",
    address="{results}/tables",
    outputs=("{table}.csv", "{table}.md", "{table}.tex", "{table}.json"),
    variants={"drawn": ("{table}.svg", "{table}.png")},
    provenance="{table}.provenance.json",
    message="{table} of preset {preset}",
    gathers=True,
    seeded=True,
    dvc="fresh",
)
FIGURE = Kind(
    "figure",
    stage="figure",
    command="figure",
    flow="table",
    address="{results}/figures",
    outputs=("{figure}.png", "{figure}.json"),
    provenance="{figure}.provenance.json",
    message="{figure} of preset {preset}",
    gathers=True,
    seeded=True,
    dvc="fresh",
)
STAGE1 = Kind(
    "stage1",
    stage="stage1",
    command="stage1",
    flow="table",
    address="{results}",
    outputs=("stage1.csv", "stage1.md"),
    provenance="stage1.provenance.json",
    message="measures of stage 1 of preset {preset}",
    gathers=True,
    seeded=True,
    evidence=("stage1.csv", "stage1.md"),
)
COMPARISON = Kind(
    "comparison",
    stage="compare",
    command="compare",
    flow="compare",
    address="{results}",
    outputs=("comparison.csv", "comparison.json", "metrics.json"),
    provenance="comparison.provenance.json",
    message="compare {tables} with the published numbers",
    gathers=True,
    seeded=True,
    dvc="metrics",
)
CLAIMS = Kind(
    "claims",
    stage="claims",
    command="claims",
    flow="compare",
    address="{results}",
    outputs=("claims.json", "claims.md"),
    provenance="claims.provenance.json",
    message="the paper's claims by {tables}",
    gathers=True,
    seeded=True,
)
REPORT = Kind(
    "report",
    stage="report",
    command="report",
    flow="compare",
    address="{results}",
    outputs=("report.html",),
    provenance="report.provenance.json",
    message="report on {tables}",
    gathers=True,
    seeded=True,
)
USER_STUDY = Kind(
    "user_study",
    stage="user_study",
    command="user-study",
    flow="compare",
    address="{results}",
    outputs=("user_study.html", "user_study.json"),
    provenance="user_study.provenance.json",
    message="page of the user study of preset {preset}",
    gathers=True,
    seeded=True,
    rule="user_study",
)

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        SPLIT,
        TEACHER,
        FEATURES,
        ENCODER,
        DISTILLED,
        STUDENT,
        MEASURED,
        RUN,
        EVALUATION,
        CONTROLS,
        CLASSIFIER,
        SEGMENTER,
        TABLE,
        FIGURE,
        STAGE1,
        COMPARISON,
        CLAIMS,
        REPORT,
        USER_STUDY,
    )
}


def kind_at(results: Path, provenance: Path) -> tuple[Kind, dict[str, str | int]]:
    """Return the kind and the address of the provenance file at a path relative to the root; `UserError` for none."""
    for kind in KINDS.values():
        address = kind.read(results, provenance)
        if address is not None:
            return kind, address
    raise UserError(f"{provenance} is not the address of a result in {results}")
