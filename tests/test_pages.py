"""What pages and docstrings point to exists: paths of the repository, modules, classes and functions of the package."""

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest

from kdx2i.errors import UserError
from kdx2i.inspection.page_values import marked_pages, rendered

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "profiles" / "README.md"]
SOURCES = sorted(path for room in ("kdx2i", "benchmarks") for path in (ROOT / room).rglob("*.py"))
FOLDERS = "kdx2i|docs|benchmarks|tests|workflow|profiles"
PATH = re.compile(rf"`((?:{FOLDERS})/[\w./-]+)`")
DOTTED = re.compile(r"`(kdx2i(?:\.\w+)+)(?:\([^`]*\))?`")


@cache
def names_in(path: Path) -> set[str]:
    """Return the names that a module defines, those of its classes' members after a dot, and what it imports."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
            names |= {f"{node.name}.{name}" for name in _members(node)}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom | ast.Import | ast.If):
            names |= {alias.asname or alias.name for alias in _aliases(node)}
    return names


def _members(node: ast.stmt) -> set[str]:
    body = node.body if isinstance(node, ast.ClassDef) else []
    functions = {item.name for item in body if isinstance(item, ast.FunctionDef)}
    fields = {item.target.id for item in body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)}
    return functions | fields


def _aliases(node: ast.stmt) -> list[ast.alias]:
    return [alias for item in ast.walk(node) if isinstance(item, ast.ImportFrom | ast.Import) for alias in item.names]


def exists(dotted: str) -> bool:
    """Tell whether a dotted name is a package, a module, or something that a module has."""
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:end])
        module = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if module.is_file():
            rest = ".".join(parts[end:])
            return not rest or rest in names_in(module)
    return False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_names_nothing_that_is_not_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    lost = [path for path in PATH.findall(text) if not list(ROOT.glob(path.rstrip("/")))]
    lost += [name for name in DOTTED.findall(text) if not exists(name)]
    assert not lost


def test_a_docstring_names_no_module_that_is_not_there() -> None:
    lost = {
        path.relative_to(ROOT).as_posix(): missing
        for path in SOURCES
        if (missing := [name for name in DOTTED.findall(path.read_text(encoding="utf-8")) if not exists(name)])
    }
    assert not lost


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_numbers_of_a_page_are_those_of_the_files_that_it_names(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert rendered(text, ROOT, page.name) == text, "run `kdx2i pages`"


def test_the_page_of_results_takes_its_numbers_from_files() -> None:
    assert ROOT / "docs" / "results.md" in marked_pages(ROOT)


CSV = """kind,part,dataset,label,metric,value,low,high
method,latent,birds,Ours*,RC,66.25,,
method,latent,birds,StarGANv2*,RC,48.75,40.0,60.0
method,latent,birds,Ours*,mFID,943.456,,
method,latent,birds,StarGANv2*,mFID,,,
control,latent,birds,Noise images,RC,16.2,,
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "t.csv").write_text(CSV)
    for seed, value in enumerate((40.0, 50.0)):
        run = tmp_path / f"runs/birds/stargan_v2/kd/r64/s{seed}/latent"
        run.mkdir(parents=True)
        (run / "metrics.json").write_text(f'{{"values": {{"RC": {{"value": {value}}}}}}}')
    spoken = tmp_path / "runs/plants/s2igan/kd/r64/s1/audio"
    spoken.mkdir(parents=True)
    pairs, seen = {"value": 60.0, "interval": [55.0, 65.0]}, {"pairs": {"value": 62.0, "interval": [58.0, 66.0]}}
    entry = {"value": 4.5, "interval": [1.5, 12.4], "chance": 1.49, "pairs": pairs, "training": seen}
    (spoken / "metrics.json").write_text(json.dumps({"values": {"R-precision": entry}}))
    (tmp_path / "learned.csv").write_text(
        "kind,part,dataset,label,metric,value,low,high,learned\n"
        "method,latent,birds,Ours,RC,20.0,,,no\nmethod,latent,foods,Ours,RC,30.0,,,yes\n"
    )
    (tmp_path / "tables").mkdir()
    learned = "part,dataset,label,learned\nlatent,foods,Ours,no\nlatent,birds,Ours,yes\n"
    (tmp_path / "tables/t.csv").write_text(learned)
    # By seed, the mean over machines of Ours - SDIT is 4, 5, 6 on birds and -1, 0, 1 on foods; seed 3 has no partner.
    # The pooled variance is 1 with 4 degrees of freedom: t is 2.776, and 2.776 / sqrt(3) = 1.60.
    lines = [
        f"t,latent,{label},{dataset},{metric},{seed},{machine},{base + gain + noise}"
        for dataset, middle in (("birds", 5.0), ("foods", 0.0))
        for seed, base, shift in ((0, 20.0, -1.0), (1, 30.0, 0.0), (2, 10.0, 1.0))
        for machine, noise in (("a", -2.0), ("b", 2.0))
        for label, gain in (("Ours", middle + shift), ("SDIT", 0.0))
        for metric in ("RC", "mFID")
    ]
    head = "table,part,label,dataset,metric,seed,machine,value"
    (tmp_path / "spread.csv").write_text("\n".join([head, *lines, "t,latent,Ours,birds,RC,3,a,90.0"]) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("marker", "made"),
    [
        ("value t.csv label='Ours*' metric=RC", "66.2"),
        ("value t.csv label='Ours*' metric=RC digits=2", "66.25"),
        ("value t.csv label='Ours*' metric=RC minus label='StarGANv2*'", "17.5"),
        ("value t.csv label='StarGANv2*' metric=RC", "48.8 ± 10.0"),
        (
            "table t.csv part=latent metrics=RC,mFID digits=0,1",
            "\n| RC % ↑ / mFID ↓ | birds |\n| --- | ---: |\n| Ours\\* | 66 / 943.5 |\n| StarGANv2\\* | 49 ± 10 / – |\n",
        ),
        (
            "table t.csv kind=control metrics=RC labels='Noise images'",
            "\n| RC % ↑ | birds |\n| --- | ---: |\n| Noise images | 16.2 |\n",
        ),
        (
            "table learned.csv metrics=RC",
            "\n| RC % ↑ | birds | foods |\n| --- | ---: | ---: |\n| Ours | 20.0 † | 30.0 |\n",
        ),
        (
            "runs runs datasets=birds,foods transfers=kd metrics=RC mode=latent size=64",
            "\n| RC % ↑ | birds | foods |\n| --- | ---: | ---: |\n| kd | 45.0 | – |\n",
        ),
        (
            "fidelity runs dataset=plants architecture=s2igan transfer=kd mode=audio size=64",
            "\n| seed | R-precision % | chance | own against another's % | the same in training % |\n"
            "| --- | ---: | ---: | ---: | ---: |\n"
            "| 1 | 4.5 (1.5 to 12.4) | 1.5 | 60.0 (55.0 to 65.0) | 62.0 (58.0 to 66.0) |\n",
        ),
        (
            "gains . table=t part=latent label=Ours against=SDIT datasets=birds,foods metrics=RC,mFID digits=1,2",
            "\n| Ours − SDIT | birds | foods |\n| --- | ---: | ---: |\n"
            "| RC % ↑ | +5.0 ± 1.6, better | +0.0 ± 1.6, a row has not learned |\n"
            "| mFID ↓ | +5.00 ± 1.60, worse | +0.00 ± 1.60, a row has not learned |\n",
        ),
        (
            "gains . table=t part=latent label=SDIT against=SDIT datasets=birds metrics=RC",
            "\n| SDIT − SDIT | birds |\n| --- | ---: |\n| RC % ↑ | +0.0 ± 0.0, cannot tell |\n",
        ),
    ],
)
def test_a_marker_is_filled_from_its_file_whatever_stood_there(folder: Path, marker: str, made: str) -> None:
    for before in ("", "an old number", made):
        text = f"before <!-- {marker} -->{before}<!-- end --> after"
        assert rendered(text, folder, "page") == f"before <!-- {marker} -->{made}<!-- end --> after"


@pytest.mark.parametrize(
    "marker",
    [
        "value nothing.csv metric=RC",
        "value t.csv metric=RC",
        "value t.csv label=Ours metric=RC",
        "value t.csv colour=red",
        "value t.csv label='Ours*' metric=mFID minus label='StarGANv2*'",
        "table t.csv part=latent",
        "table t.csv metrics=RC,mFID digits=1",
        "gains . table=t part=latent label=Ours against=DMIT datasets=birds metrics=RC",
        "gains . table=t part=latent label=Ours datasets=birds metrics=RC",
        "runs runs datasets=foods transfers=kd metrics=RC mode=latent size=64",
        "runs runs datasets=birds transfers=kd metrics=FC mode=latent size=64",
        "fidelity runs dataset=plants architecture=s2igan transfer=scratch mode=audio size=64",
        "claims nowhere",
    ],
)
def test_a_marker_that_cannot_be_filled_is_one_sentence(folder: Path, marker: str) -> None:
    with pytest.raises(UserError, match=r"page: the marker `.*` cannot be filled: "):
        rendered(f"<!-- {marker} -->1<!-- end -->", folder, "page")
