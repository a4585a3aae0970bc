"""Protocol entries and equations are cited in one form, and every citation leads somewhere."""

import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel
from repository import ROOT

from kdx2i.config import PresetConfig, ProtocolEntry, load_preset, load_protocol, names_in
from kdx2i.distill.equations import i2i, x2i
from kdx2i.distill.transfers import TransferReadings
from kdx2i.methods.catalogue import architectures
from kdx2i.methods.conditional_settings import EmbeddingTrainSettings, X2IDistillSettings
from kdx2i.metrics.settings import EvaluationSettings
from kdx2i.plan import Plan
from kdx2i.suite import make_plan

ROOMS = ("kdx2i", "benchmarks", "workflow", "tests", "docs")
KINDS = {".py", ".yaml", ".smk", ".md"}
IDENTIFIERS = [entry.id for entry in load_protocol(ROOT).entries]
NAMES = {name for name in IDENTIFIERS if "-" in name} - set(names_in(ROOT / "benchmarks" / "datasets"))
BARE = rf"(?<![\w\"-])(?:{'|'.join(sorted(NAMES))})(?![\w\"-])"
CITATION = re.compile(r"\b[Pp]rotocol entry ([a-z0-9]+(?:-[a-z0-9]+)*)(?![\w.`-]*[\w`])")


def text_files() -> list[Path]:
    paths = [ROOT / "README.md"]
    for room in ROOMS:
        paths += [path for path in sorted((ROOT / room).rglob("*")) if path.suffix in KINDS]
    rendered = ROOT / "docs" / "protocol.md"
    return [path for path in paths if path not in (rendered, Path(__file__)) and "fixtures" not in path.parts]


def flowing(path: Path) -> str:
    """Return a file's text with its line breaks, and the comment marks after them, as single spaces."""
    return re.sub(r"\s*\n[ \t]*(?:# ?)?", " ", path.read_text(encoding="utf-8"))


def stray_citations(text: str) -> Iterator[str]:
    """Yield what names an entry of the register otherwise than `CITATION`: quoted strings of code are no citations."""
    cited = CITATION.sub("", re.sub(r"\bid: [\w-]+", "", text))
    for pattern in (r"\b[Pp]rotocol entr(?:y|ies)\b[^.;]{0,30}", BARE, r"\(entry (?!for )[`\w.-]+"):
        yield from re.findall(pattern, cited)


def test_every_cited_protocol_entry_is_in_the_register() -> None:
    cited = {name: path for path in text_files() for name in CITATION.findall(flowing(path))}
    unknown = {name: path.relative_to(ROOT).as_posix() for name, path in cited.items() if name not in IDENTIFIERS}
    assert not unknown
    assert {"triplet-noise", "i2i-norm", "i2i-hints", "metric-intervals"} <= set(cited)


def test_protocol_entries_are_cited_in_one_form() -> None:
    strays = {p.relative_to(ROOT).as_posix(): list(stray_citations(flowing(p))) for p in text_files()}
    assert not {path: lines for path, lines in strays.items() if lines}


@pytest.mark.parametrize(
    "text",
    ["protocol entry `i2i-norm`", "protocol entry i2i.norm", "protocol entries i2i-norm and i2i-hints",
     "(entry i2i-norm)", "(i2i-norm)", "entry `i2i.norm` (entry `x`)"],
)  # fmt: skip
def test_other_forms_are_seen(text: str) -> None:
    assert list(stray_citations(text))


def test_identifiers_of_the_register_are_in_kebab_case() -> None:
    assert [name for name in IDENTIFIERS if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)] == []


class X2I(BaseModel):
    """What every architecture with a stage 1 for text, speech or label maps has; scales of embeddings two of three."""

    distill: X2IDistillSettings = X2IDistillSettings()
    train: EmbeddingTrainSettings = EmbeddingTrainSettings(iterations=1, batch=1)


def models(annotation: Any) -> list[type[BaseModel]]:
    """Return the settings models of an annotation, through None, unions and what is annotated."""
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return [model for part in get_args(annotation) for model in models(part)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []


def is_setting(key: str) -> bool:
    """Return whether a dotted key of a preset names a setting: a field of the settings models, or a data set."""
    room, *steps = key.split(".")
    if room in ("students", "encoders"):
        return not steps and room in PresetConfig.model_fields
    if room == "datasets":
        return steps[0] in load_preset(ROOT, "paper").datasets
    if room == "architectures":
        name, *steps = steps
        level: list[type[BaseModel]] = [X2I if name == "*" else architectures()[name].settings]
    else:
        level = [{"evaluation": EvaluationSettings, "transfers": TransferReadings}[room]]
    for step in steps:
        fields = [model.model_fields[step] for model in level if step in model.model_fields]
        if not fields:
            return False
        level = [model for field in fields for model in models(field.annotation)]
    return True


@pytest.mark.parametrize("key", [entry.key for entry in load_protocol(ROOT).entries if entry.key])
def test_the_key_of_an_entry_is_a_setting(key: str) -> None:
    assert is_setting(key)


@pytest.mark.parametrize(
    "key",
    [
        "architectures.stargan_v2.distill.norms",
        "architectures.stargan_v2.norm",
        "architectures.*.distill.first",
        "evaluation.diversity.net",
        "datasets.cats",
        "transfers.l2_alignment",
    ],
)
def test_other_keys_are_no_settings(key: str) -> None:
    assert not is_setting(key)


def test_no_citation_leads_out_of_the_repository() -> None:
    outside = re.compile(r"\bsections? \d+ of (?:its|the|their) facts|\(facts in ")
    assert not [path.relative_to(ROOT).as_posix() for path in text_files() if outside.search(flowing(path))]


def test_every_equation_of_section_3_2_has_its_function() -> None:
    documented = [function.__doc__ or "" for _, function in inspect.getmembers(i2i, inspect.isfunction)]
    starts = [re.match(r"Eq\. \((\d)\)[:,] ", text) for text in documented]
    # Eq. (4) has two sides.
    assert sorted(start.group(1) for start in starts if start) == ["1", "2", "3", "4", "4", "5"]


def test_every_equation_of_section_3_3_has_its_function() -> None:
    documented = [function.__doc__ or "" for _, function in inspect.getmembers(x2i, inspect.isfunction)]
    starts = [re.match(r"Eq\. \(([678])\)[:,] ", text) for text in documented]
    assert sorted(start.group(1) for start in starts if start) == ["6", "7", "8"]


def test_equations_are_cited_in_one_form() -> None:
    citation = r"[Ee]q(?:s?\. \(\d\)(?:(?:, | and | to |, \(\d\) and )\(\d\))*)"
    other = re.compile(r"\b[Ee]q(?:s|n)?\.? ?\(?\d|\b[Ee]quations? \(?\d")
    for path in text_files():
        assert not other.search(re.sub(citation, "", flowing(path))), path


def test_the_preset_paper_takes_what_the_register_chooses() -> None:
    register = load_protocol(ROOT)
    choices = register.choices(load_preset(ROOT, "paper"))
    others = {e.id: choices[e.id] for e in register.entries if choices[e.id] != e.chosen}
    assert others == {"open-cat2dog": "cat2dog-200"}  # a choice among open drawings, which the preset does not have


def settings_at(plan: Plan, key: str) -> set[str]:
    """Return the values at a key of the preset's settings, completed with defaults, at each of its resolutions."""
    room, *steps = key.split(".")
    if room == "architectures":
        architecture, *steps = steps
        if architecture == "*":
            levels: list[Any] = [X2I().model_dump(mode="json")]
        elif architecture not in plan.preset.architectures:  # Then its own defaults are what the preset takes.
            levels = [architectures()[architecture].settings().model_dump(mode="json")]
        else:
            levels = [plan.settings(architecture, resolution) for resolution in plan.resolutions]
    else:
        readings = TransferReadings(**plan.preset.transfers).model_dump()
        levels = [{"evaluation": plan.evaluation_settings, "transfers": readings}[room]]
    for step in steps:
        levels = [level.get(step) for level in levels if isinstance(level, dict)]
    return {plain(str(level).lower()) for level in levels}


@cache
def paper_plan() -> Plan:
    return make_plan(ROOT, "paper")


def plain(value: str) -> str:
    """Write a number one way: 10 is 10.0."""
    try:
        return str(float(value))
    except ValueError:
        return value


@pytest.mark.parametrize("entry", [e for e in load_protocol(ROOT).entries if e.key], ids=lambda entry: entry.id)
def test_the_settings_of_the_preset_paper_are_what_the_register_chooses(entry: ProtocolEntry) -> None:
    key = str(entry.key)
    if key.startswith("datasets.") or key in ("students", "encoders"):
        return
    spelled = {"rc-classifier-start": "none", "deepi2i-added-weights": str({str(4 * 2**n): 0.1 for n in range(4)})}
    chosen = spelled.get(entry.id, entry.chosen.lower())
    assert plain(chosen) in settings_at(paper_plan(), key)
