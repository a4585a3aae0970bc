"""What the report says, and what it refuses, without a browser."""

import json
import re
from pathlib import Path

import pytest
from made_up import finished
from PIL import Image
from repository import ROOT, clone, kdx2i, settings_copy

from kdx2i.config.claims import load_claims
from kdx2i.errors import UserError
from kdx2i.files import write_bytes, write_text
from kdx2i.inspection.verify import verify
from kdx2i.provenance import problem
from kdx2i.report.evidence import as_json, read_log
from kdx2i.report.pictures import Pictures
from kdx2i.report.sources import reference_sources
from kdx2i.stages import report
from kdx2i.suite import make_plan


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> str:
    return reported(tmp_path_factory.mktemp("report"))


def reported(folder: Path) -> str:
    report.write_reference_report(ROOT, ["open-ablation"], folder / "report.html")
    return (folder / "report.html").read_text(encoding="utf-8")


def data_of(page: str) -> dict:
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_stand_ins_are_never_shown_as_reproductions(ablation: str) -> None:
    assert "No number here reproduces a published value." in ablation
    cells = re.search(r'id="cells-table".*?</table>', ablation, re.DOTALL)[0]
    rows = re.findall(r"<tr><td>.*?</tr>", cells, re.DOTALL)
    assert len(rows) == sum("verdict" in cell for cell in data_of(ablation)["cells"].values())
    for row in rows:
        columns = re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL)
        assert columns[8] == "–"
        assert re.search(r">(not comparable|not learned)<", columns[9])


def test_what_is_not_computed_is_said_with_its_command(ablation: str) -> None:
    missing = re.search(r'id="missing".*?</article>', ablation, re.DOTALL)[0]
    assert "132 printed numbers, none computed in this report. <code>snakemake --cores 8 table1</code>" in missing
    assert "figure3b" not in missing
    section = re.search(r'<section id="claims".*?</section>', ablation, re.DOTALL)[0]
    assert len(re.findall(r'class="claim"', section)) == len(load_claims(ROOT))


def test_figure_3b_is_drawn_in_the_colours_of_the_page(ablation: str) -> None:
    plot = re.search(r'<svg class="plot".*?</svg>', ablation, re.DOTALL)[0]
    assert "var(--bar0)" in plot
    assert "#000000" not in plot
    assert "<style" not in plot


def test_every_number_leads_to_its_results_and_their_inputs(ablation: str) -> None:
    data = data_of(ablation)
    cell = data["cells"]["figure3b/reference/3/birds/mFID"]
    assert cell["mean"] == pytest.approx(sum(cell["values"]) / 3)
    leaves = [data["leaves"][name] for name in cell["leaves"]]
    assert [leaf["seed"] for leaf in leaves] == [0, 1, 2]
    assert leaves[0]["values"]["mFID"]["value"] == cell["values"][0]
    run, identity = leaves[0]["inputs"][0]
    assert data["leaves"][run]["identity"] == identity
    assert data["leaves"][run]["files"][0][0] == "benchmarks/students/stargan_v2-kd-r64.safetensors"
    assert f'id="{data["leaves"][run]["losses"]}"' in ablation
    assert f'id="{leaves[0]["picture"]}"' in ablation


def test_the_page_has_no_address_of_another_place(ablation: str) -> None:
    without_names = re.sub(r'xmlns(:xlink)?="http://www\.w3\.org/[^"]*"', "", ablation)
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", without_names)
    assert "http" not in without_names.split("<style>")[1].split("</style>")[0]


def test_two_runs_give_the_same_bytes(ablation: str, tmp_path: Path) -> None:
    assert reported(tmp_path) == ablation


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["nothing"], "results/reference has no `nothing` with tables; it has open"),
        (["open-readings"], "has no `open-readings` with tables"),
        (["open", "open-long"], "are references of several presets"),
        (["open", "open"], "both have table1"),
    ],
)
def test_wrong_references_are_refused(names: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        reference_sources(ROOT, names)


def test_a_broken_log_and_a_broken_picture_are_named(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    write_text(log, '{"step": 0, "loss": 1.5, "note": "x"}\n[1]\n')
    with pytest.raises(UserError, match=r"log\.jsonl is not a log of a training"):
        read_log(log)
    write_text(log, '{"step": 0, "loss": 1.5, "note": "x"}\n')
    assert read_log(log) == [{"step": 0.0, "loss": 1.5}]
    pictures = Pictures()
    write_bytes(tmp_path / "grid.png", b"no picture")
    pictures.add(tmp_path / "grid.png", "grid", "")
    with pytest.raises(UserError, match=r"grid\.png is not an image"):
        pictures.encoded(tmp_path)


def test_pictures_are_made_smaller_until_they_fit(tmp_path: Path) -> None:
    pictures = Pictures()
    for number in range(3):
        Image.effect_noise((300, 200), 80 + number).convert("RGB").save(tmp_path / f"{number}.png")
        pictures.add(tmp_path / f"{number}.png", str(number), "")
    best = sum(len(picture.uri) for picture in pictures.encoded(tmp_path))
    smaller = pictures.encoded(tmp_path, best // 3)
    assert sum(len(picture.uri) for picture in smaller) <= best // 3
    assert [(picture.width, picture.height) for picture in smaller] == [(300, 200)] * 3


def test_json_in_the_page_cannot_end_its_script() -> None:
    text = as_json({"a": "</script><b>&"})
    assert "<" not in text
    assert json.loads(text) == {"a": "</script><b>&"}


def test_the_stage_writes_a_report_that_is_current_and_verified(tmp_path: Path) -> None:
    plan, leaf = finished(clone(tmp_path / "copy"))
    report.run(plan, leaf)
    assert problem(leaf) is None
    assert plan.command(leaf) == ["kdx2i", "report", "--preset", "open-smoke", "--seeds", "0", "table1"]
    found = {finding.leaf.kind.name: finding.problem for finding in verify(plan) if finding.leaf is not None}
    assert found["report"] is None
    page = leaf.file("report.html").read_text()
    assert "results/open-smoke/runs/" in page
    assert "adv, 0.500 to 1.000, at last 0.500" in page
    assert re.search(r"Of the paper's <a href=\"#claims\">\d+ claims</a>", page)
    claims = plan.root / "benchmarks/claims.yaml"
    stated = "says: Ours* better than StarGANv2* with references (mKID, mFID)"
    write_text(claims, claims.read_text().replace(stated, "says: X"))
    stale = problem(report.current_report(make_plan(plan.root, "open-smoke"), ["table1"]))
    assert stale is not None
    assert stale.kind == "stale"
    report.run(plan, report.current_report(make_plan(plan.root, "open-smoke"), ["table1"]))
    assert "X <small>" in leaf.file("report.html").read_text()


def test_the_command_line_says_what_goes_together(tmp_path: Path) -> None:
    root = settings_copy(tmp_path)
    refused = kdx2i(ROOT, "report", "--reference", "open", "table1")
    assert refused.returncode == 2
    assert "leave out the names" in refused.stderr
    refused = kdx2i(ROOT, "report", "--output", str(root / "x.html"))
    assert refused.returncode == 2
    assert "--output belongs to --reference" in refused.stderr
