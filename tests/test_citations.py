"""Protocol entries and equations are cited in one form, and every citation leads somewhere."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel
from repository import ROOT

from kdx2i.config import PresetConfig, load_preset, load_protocol, names_in
from kdx2i.distill.equations import i2i
from kdx2i.methods.catalogue import architectures
from kdx2i.metrics.settings import EvaluationSettings

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


def models(annotation: Any) -> list[type[BaseModel]]:
    """Return the settings models of an annotation, through None, unions and what is annotated."""
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return [model for part in get_args(annotation) for model in models(part)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []


def is_setting(key: str) -> bool:
    """Return whether a dotted key of a preset names a setting: a field of the settings models, or a data set."""
    room, *steps = key.split(".")
    if room == "students":
        return not steps and room in PresetConfig.model_fields
    if room == "datasets":
        return steps[0] in load_preset(ROOT, "paper").datasets
    if room == "architectures":
        name, *steps = steps
        level: list[type[BaseModel]] = [architectures()[name].settings]
    else:
        level = [{"evaluation": EvaluationSettings}[room]]
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
        "evaluation.diversity.net",
        "datasets.cats",
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


def test_equations_are_cited_in_one_form() -> None:
    citation = r"[Ee]q(?:s?\. \(\d\)(?:(?:, | and | to |, \(\d\) and )\(\d\))*)"
    other = re.compile(r"\b[Ee]q(?:s|n)?\.? ?\(?\d|\b[Ee]quations? \(?\d")
    for path in text_files():
        assert not other.search(re.sub(citation, "", flowing(path))), path
