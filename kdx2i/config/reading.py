"""Read and check the YAML files of `benchmarks/`; every mistake names its file and key."""

import math
import os
import re
import types
import typing
from collections.abc import Hashable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from kdx2i.bounds import SETTINGS_BYTES, SETTINGS_NESTING, SETTINGS_NODES, WHOLE_NUMBER_BITS
from kdx2i.config.figures import FigureConfig
from kdx2i.config.models import DatasetConfig, PresetConfig, ProtocolRegister, TableConfig, listed
from kdx2i.config.students import StudentRecipe
from kdx2i.errors import UserError
from kdx2i.foreign import read_text, refusing


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML without code and without silently repeated keys."""


def _number(loader: _Loader, node: yaml.ScalarNode) -> float:
    value = float(loader.construct_yaml_float(node))
    if not math.isfinite(value):
        raise yaml.constructor.ConstructorError(None, None, f"the number {node.value} is not finite", node.start_mark)
    return value


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    value = int(loader.construct_yaml_int(node))
    if value.bit_length() > WHOLE_NUMBER_BITS:
        raise yaml.constructor.ConstructorError(None, None, "a number is too long", node.start_mark)
    return value


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    seen: set[Hashable] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if not isinstance(key, Hashable) or key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
        seen.add(key)
    mapping: dict[Hashable, Any] = loader.construct_mapping(node, deep=True)
    return mapping


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)
_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)


def _check_extent(text: str) -> None:
    """Raise `ValueError` for YAML that nests too deeply or, its aliases followed, holds too much.

    It goes through the parser's events, which neither recur nor follow aliases: building the objects does both.
    """
    anchors: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = [(None, 0)]  # of each collection: its anchor, what it holds so far
    for event in yaml.parse(text, Loader=_Loader):
        count = 1
        if isinstance(event, yaml.CollectionStartEvent):
            open_.append((event.anchor, 1))
            if len(open_) > SETTINGS_NESTING:
                raise ValueError("it is nested too deeply")
            continue
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise ValueError(f"the alias {event.anchor} has no anchor before it")
            count = anchors[event.anchor]
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, count = open_.pop()
            if anchor is not None:
                anchors[anchor] = count
        elif isinstance(event, yaml.ScalarEvent):
            if event.anchor is not None:
                anchors[event.anchor] = 1
        else:
            continue
        anchor, held = open_[-1]
        open_[-1] = (anchor, held + count)
        if held + count > SETTINGS_NODES:
            raise ValueError("it holds more than settings may")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; a missing or broken file raises `UserError` naming it and the line."""
    text = read_text(path, SETTINGS_BYTES)
    with refusing(f"{path} is not a readable YAML file"):
        _check_extent(text)
        data = yaml.load(text, Loader=_Loader)  # a SafeLoader
    if not isinstance(data, dict):
        raise UserError(f"{path} must hold a YAML mapping of keys to values")
    return data


def find_root(start: Path | None = None) -> Path:
    """Return the repository root: KDX2I_ROOT, or the first folder upwards that holds `benchmarks/presets`."""
    stated = os.environ.get("KDX2I_ROOT")
    if stated:
        root = Path(stated).resolve()
        if not (root / "benchmarks" / "presets").is_dir():
            raise UserError(f"KDX2I_ROOT is {stated}, which has no folder benchmarks/presets")
        return root
    origin = (start or Path.cwd()).resolve()
    around = root_around(origin)
    if around is None:
        raise UserError(f"{origin} is not inside the kdx2i repository: go there, or set KDX2I_ROOT to it")
    return around


def root_around(folder: Path) -> Path | None:
    """Return the first folder upwards from one that holds `benchmarks/presets`, whatever KDX2I_ROOT is; or None."""
    origin = folder.resolve()
    return next((place for place in (origin, *origin.parents) if (place / "benchmarks" / "presets").is_dir()), None)


Model = TypeVar("Model", bound=BaseModel)


def validate(model: type[Model], data: Any, where: str) -> Model:
    """Validate `data`; the first mistake becomes one `UserError` sentence that starts with `where`."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{where}: {_sentence(model, error)}") from None


def _sentence(model: type[BaseModel], error: ValidationError) -> str:
    """Write the first mistake of a validation as one sentence with its key."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(step) for step in first["loc"] if not (isinstance(step, str) and "[" in step))
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _keys_at(model, first["loc"][:-1])
        return f"the key `{place}` is unknown; the keys here are {listed(known)}{more}"
    if first["type"] == "missing":
        return f"the key `{place}` is missing{more}"
    message = re.sub(r"^Value error, ", "", first["msg"])
    return (f"key `{place}`: {message}" if place else message) + more


def _keys_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the model nested at `loc` knows."""
    kind: Any = model
    for step in loc:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(step)].annotation
        elif isinstance(step, str) and "[" in step:  # the tag of one of several models
            tagged = {tag.tag: arm for arm in typing.get_args(kind) for arm, tag in [typing.get_args(arm)]}
            kind = tagged[step]
        else:
            kind = (typing.get_args(kind) or (Any,))[-1]
        if isinstance(kind, types.UnionType):
            kind = next(arm for arm in typing.get_args(kind) if arm is not type(None))
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def names_in(folder: Path) -> list[str]:
    """Return the names of the YAML files of a folder, sorted; an absent folder has none."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _load(model: type[Model], root: Path, room: str, name: str) -> Model:
    """Load `benchmarks/<room>/<name>.yaml`; an unknown name lists the known ones."""
    folder = root / "benchmarks" / room
    known = names_in(folder)
    if name not in known:
        raise UserError(f"there is no {room[:-1]} `{name}`; the {room} are {listed(known)}")
    data = read_yaml(folder / f"{name}.yaml")
    loaded = validate(model, data, f"benchmarks/{room}/{name}.yaml")
    _named_like_its_file(loaded, name, f"benchmarks/{room}/{name}.yaml")
    return loaded


def _named_like_its_file(loaded: BaseModel, stem: str, where: str) -> None:
    if getattr(loaded, "name", stem) != stem:
        raise UserError(f"{where}: the key `name` must be `{stem}`, like the file")


def load_dataset(root: Path, name: str) -> DatasetConfig:
    """Load the dataset `name` of the repository at `root`."""
    return _load(DatasetConfig, root, "datasets", name)


def load_table(root: Path, name: str) -> TableConfig:
    """Load the table `name` of the repository at `root`."""
    return _load(TableConfig, root, "tables", name)


def load_figure(root: Path, name: str) -> FigureConfig:
    """Load the figure `name` of the repository at `root`."""
    return _load(FigureConfig, root, "figures", name)


def load_student(root: Path, name: str) -> StudentRecipe:
    """Load the recipe of the shipped student `name` of the repository at `root`."""
    return _load(StudentRecipe, root, "students", name)


def load_protocol(root: Path) -> ProtocolRegister:
    """Load the protocol register of the repository at `root`, once in a process while its file stays the same."""
    path = root / "benchmarks" / "protocol.yaml"
    state = path.stat() if path.is_file() else None
    return _protocol(path, state and (state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=16)
def _protocol(path: Path, _state: tuple[int, int] | None) -> ProtocolRegister:
    return validate(ProtocolRegister, read_yaml(path), "benchmarks/protocol.yaml")


def merged(base: Mapping[Any, Any], over: Mapping[Any, Any]) -> dict[Any, Any]:
    """Merge two nested mappings: where both hold mappings they are merged, otherwise `over` wins."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = merged(below, value) if both and isinstance(below, Mapping) else value
    return result


def load_preset(root: Path, name_or_path: str) -> PresetConfig:
    """Load a preset by name, or by the path of a YAML file (relative paths start at `root`).

    `extends: other` merges it over the preset `other`. Its protocol choices are checked against the
    register.
    """
    folder = root / "benchmarks" / "presets"
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        path = root / name_or_path
    elif name_or_path in names_in(folder):
        path = folder / f"{name_or_path}.yaml"
    else:
        raise UserError(f"there is no preset `{name_or_path}`; the presets are {listed(names_in(folder))}")
    preset = validate(PresetConfig, _extended(folder, path, ()), str(name_or_path))
    _named_like_its_file(preset, path.stem, str(name_or_path))
    _check_choices(load_protocol(root), preset, str(name_or_path))
    return preset


def _extended(folder: Path, path: Path, below: tuple[Path, ...]) -> dict[str, Any]:
    """Read a preset's YAML and merge it over what it extends.

    `datasets`, `resolutions` and `students` replace those below: which ones there are is a choice, not a setting.
    """
    if path in below:
        raise UserError(f"{path.name}: the key `extends` leads back to this file")
    data = read_yaml(path)
    base = data.get("extends")
    if base is None:
        return data
    if not isinstance(base, str) or "/" in base:
        raise UserError(f"{path.name}: the key `extends` must name a preset, not {str(base)!r}")
    chosen = {key: data[key] for key in ("datasets", "resolutions", "students") if key in data}
    return merged(_extended(folder, folder / f"{base}.yaml", (*below, path)), data) | chosen


def _check_choices(register: ProtocolRegister, preset: PresetConfig, where: str) -> None:
    """Refuse protocol choices that the register does not know."""
    entries = {entry.id: entry for entry in register.entries}
    for name, choice in preset.protocol.items():
        if name not in entries:
            raise UserError(f"{where}: the protocol has no entry `{name}`; the entries are {listed(entries)}")
        if choice not in entries[name].alternatives:
            alternatives = listed(entries[name].alternatives)
            raise UserError(f"{where}: protocol.{name} is `{choice}`; the alternatives are {alternatives}")


def parse_seeds(text: str) -> list[int] | None:
    """Return the seeds of `0,1,2`, or None for an empty text."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word.isdecimal() for word in words):
        raise UserError(f"seeds must be whole numbers with commas between them, e.g. 0,1,2, not `{text}`")
    return [int(word) for word in words] or None
