"""The generic part of the parity tests: fixtures in, comparisons out; families supply only an adapter.

A fixture is a folder with `spec.json` (one entry a module), one `.npz` a module with the expected outputs,
and `paper_scale.json` (state lists, counts and probes at the published sizes). Weights and inputs are
functions of their names (`fill.py`).
"""

import importlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .fill import fill_tensor, input_array
from .rules import fill_by, rule_of

FIXTURES = Path(__file__).parent / "fixtures"
OTHER_SIZES = Path(__file__).parent / "other_sizes"
"""Made like `FIXTURES`, by the official classes, in configurations that no paper has: each argument takes effect."""
SUM_RTOL = 2e-6
PARTS = ("submodules", "parts")


class Subject(Protocol):
    """One network (or set of losses) under test, built from a fixture's `config`."""

    def state(self) -> Mapping[str, tuple[int, ...]]:
        """Official keys and shapes of the state dict."""

    def param_count(self) -> int:
        """Number of learned parameters."""

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Load a state dict with official keys, through the importer of real checkpoints."""

    def run(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Compute every output of the fixture; inputs come under the last part of their names (after `/`)."""


class Adapter(Protocol):
    """What a module of `adapters/` has: `build`, and optionally `extra_counts` and `paper_entries`."""

    def build(self, module: str, entry: Mapping[str, Any]) -> Subject:
        """Build the subject of one entry of `spec.json` or `paper_scale.json` from all keys of its config."""


@dataclass
class Case:
    """One module of one family."""

    root: Path
    family: str
    module: str
    entry: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.family}/{self.module}"

    def arrays(self) -> dict[str, np.ndarray]:
        path = self.root / self.family / self.entry.get("npz", f"{self.module}.npz")
        if not path.is_file() and "outputs" not in self.entry:
            return {}  # a function whose results are written in the entry (`expected`)
        with np.load(path) as stored:
            return dict(stored)


@dataclass
class PaperCase:
    """One network at a published size."""

    family: str
    label: str
    module: str
    entry: dict[str, Any]
    probes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.family}/{self.label}"


def families(root: Path) -> list[str]:
    return sorted(p.parent.name for p in root.glob("*/spec.json"))


@lru_cache
def adapter(family: str) -> Any:
    """Return the family's adapter, None if there is none yet."""
    name = f"{__package__}.adapters.{family}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return None


def cases(root: Path) -> list[Case]:
    result = []
    for family in families(root):
        spec = json.loads((root / family / "spec.json").read_text())
        result += [Case(root, family, module, entry) for module, entry in spec["modules"].items()]
    return result


def paper_cases(root: Path) -> list[PaperCase]:
    """Return every network of the `paper_scale.json` files of families that have an adapter."""
    result = []
    for family in families(root):
        path = root / family / "paper_scale.json"
        if path.is_file() and adapter(family) is not None:
            paper = json.loads(path.read_text())
            for label, module, entry in adapter(family).paper_entries(paper):
                probes = entry.get("probes", {"": entry} if "probe" in entry else {})
                result.append(PaperCase(family, label, module, entry, probes))
    return result


def gain_of(entry: Mapping[str, Any]) -> float:
    """Return what tensors of two or more dimensions are multiplied by: families write it in one of two places."""
    return float(entry.get("gain", entry.get("fill", {}).get("gain", 1.0)))


def constants(case: Case) -> dict[str, np.ndarray]:
    """Return the buffers that keep the value of their constructor."""
    stored = case.arrays()
    return {name: stored[f"constant:{name}"] for name in case.entry.get("constant_state", [])}


def networks_of(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the networks of an entry that has several, by name: a family calls them `submodules` or `parts`."""
    return next((entry[key] for key in PARTS if key in entry), {})


def filled_state(entry: Mapping[str, Any], gain: float, fixed: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Return the state dict of a fixture: the fill times the gain (two or more dimensions), or a constant.

    A tensor with two keys is filled by the name that `aliases` gives for the first of them; `fill.rules` name
    the exceptions. Where an entry has several networks (`networks_of`), each is filled by its own keys.
    """
    if networks_of(entry):
        rest = {key: value for key, value in entry.items() if key not in PARTS}
        parts = {name: {**rest, "state": part["state"]} for name, part in networks_of(entry).items()}
        states = {name: filled_state(part, gain, fixed) for name, part in parts.items()}
        return {f"{name}.{key}": tensor for name, state in states.items() for key, tensor in state.items()}
    arrays: dict[str, np.ndarray] = {}
    names = {name for name, _, _ in entry.get("state", ())}
    # An older spectral norm keeps the divided weight beside `weight_orig`, in one storage: the last one loaded counts.
    divided = {name: name.removesuffix("_orig") for name in names if name.endswith("weight_orig")}
    aliases = {name: other for name, other in divided.items() if other in names} | entry.get("aliases", {})
    rules = entry.get("fill", {}).get("rules", {})
    for name, shape, dtype in entry.get("state", ()):
        rule = rule_of(name, rules)
        if name in fixed:
            arrays[name] = np.array(fixed[name])
        elif rule is not None:
            arrays[name] = fill_by(rule, aliases.get(name, name), tuple(shape), arrays)
        elif "float" in dtype:
            value = np.asarray(fill_tensor(aliases.get(name, name), tuple(shape)))
            arrays[name] = value * np.float32(gain) if len(shape) >= 2 else value
        else:
            arrays[name] = np.zeros(shape, dtype)
    return {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}


def state_list(entry: Mapping[str, Any]) -> Iterator[tuple[str, list[int], str]]:
    """Yield key, shape and type of every tensor; those of several networks with the network's name before the key."""
    yield from entry.get("state", ())
    for name, part in networks_of(entry).items():
        yield from ((f"{name}.{key}", shape, dtype) for key, shape, dtype in part["state"])


def abs_sum(state: Mapping[str, Tensor]) -> float:
    return float(sum(t.abs().sum(dtype=torch.float64) for t in state.values() if t.is_floating_point()))


def inputs(entry: Mapping[str, Any], stored: Mapping[str, np.ndarray] | None = None) -> dict[str, Tensor]:
    """Return the inputs under the last part of their names; checks their sums where the fixture has them.

    A constant is written in the entry, or is the name of an array that is `stored` with the outputs; texts stay as they
    are. `repeat` enlarges an array along its last two axes or along `repeat_axes`.
    """
    result: dict[str, Any] = {}
    for item in entry["inputs"]:
        name, constant = item["name"], item.get("constant")
        if item.get("dtype") == "str":
            result[name] = constant
            continue
        if constant is not None:
            values = stored[constant] if stored is not None and isinstance(constant, str) else constant
            array = np.array(values, dtype=item.get("dtype", "int64"))
            array = array.reshape(tuple(item.get("shape", array.shape)))
        else:
            array = input_array(name, tuple(item["shape"]), item.get("low", -1.0), item.get("high", 1.0))
            for axis in item.get("repeat_axes", (-2, -1)) if "repeat" in item else ():
                array = np.repeat(array, item["repeat"], axis)
            array = array.astype(np.uint8) if "uint8" in item.get("cast", "") else array
        if "sum" in item:
            total = float(array.astype(np.float64).sum())
            scale = float(np.abs(array).astype(np.float64).sum())
            assert abs(total - item["sum"]) <= SUM_RTOL * max(scale, 1.0), f"input {name}: {total} != {item['sum']}"
        result[name.rsplit("/", 1)[-1]] = torch.from_numpy(array)
    return result


def compare_state(subject: Subject, entry: Mapping[str, Any]) -> None:
    """Check names, shapes and the number of parameters."""
    own = {name: tuple(shape) for name, shape in subject.state().items()}
    published = {name: tuple(shape) for name, shape, _ in state_list(entry)}
    assert own == published, describe_difference(own, published)
    counts = [part["param_count"] for part in entry.get("parts", {}).values()]
    assert subject.param_count() == entry.get("param_count", sum(counts))


def describe_difference(own: Mapping[str, Any], published: Mapping[str, Any]) -> str:
    missing = sorted(published.keys() - own.keys())
    surplus = sorted(own.keys() - published.keys())
    shapes = [f"{k}: {own[k]} != {published[k]}" for k in own.keys() & published.keys() if own[k] != published[k]]
    return f"missing {missing[:5]}, surplus {surplus[:5]}, shapes {sorted(shapes)[:5]}"


def failures(
    entry: Mapping[str, Any], stored: Mapping[str, np.ndarray], outputs: Mapping[str, Tensor]
) -> Iterator[str]:
    """Yield one sentence for each output that is missing, misshapen or outside its tolerance.

    Of an output with `mismatch`, which comes from look-ups, a stated share of the elements may differ by any amount.
    """
    for key, value in entry.get("expected", {}).items():
        if key not in ("note", "meaning") and outputs.get(key) != value:
            yield f"{key}: {outputs.get(key)} != {value}"
    rtol = entry.get("tolerance", {}).get("rtol", 0.0)
    for item in entry.get("outputs", ()):
        key = item["key"]
        if key not in outputs:
            yield f"{key}: not computed"
            continue
        own = outputs[key].detach().numpy()
        full_shape = item.get("full_shape", item.get("shape"))
        if list(own.shape) != full_shape:
            yield f"{key}: shape {list(own.shape)} != {full_shape}"
            continue
        stride = item.get("stride") or [1] * own.ndim
        own, expected = own[tuple(slice(None, None, s) for s in stride)], stored[key]
        if own.shape != expected.shape:
            yield f"{key}: stored shape {expected.shape}, sampled {own.shape}"
            continue
        excess = np.abs(own.astype(np.float64) - expected) - (item.get("atol", 0.0) + rtol * np.abs(expected))
        mismatch = item.get("mismatch")
        if mismatch is not None:
            share = float((~(np.abs(own - expected) <= mismatch["threshold"])).mean())
            if not share <= mismatch["allowed_fraction"]:
                yield f"{key}: {share:.3g} of the elements differ, allowed {mismatch['allowed_fraction']}"
        elif not bool((excess <= 0).all()):
            error = float(np.abs(own - expected).max())
            yield f"{key}: largest difference {error:.3g}, allowed {item.get('atol', 0.0):.3g} ({item['meaning']})"


def probe_failure(probe: Mapping[str, Any], output: Tensor) -> str | None:
    """Return a sentence if a full-size output misses its probe (relative 1e-3 of the largest value)."""
    if list(output.shape) != probe["shape"]:
        return f"shape {list(output.shape)} != {probe['shape']}"
    own = output.detach().reshape(-1)[torch.tensor(probe["flat_index"])].numpy()
    error = float(np.abs(own - np.array(probe["value"])).max())
    return None if error <= 1e-3 * probe["max_abs"] else f"largest difference {error:.3g} of {probe['max_abs']:.3g}"
