"""What the report says, and what it refuses, without a browser."""

import json
import re
from pathlib import Path

import pytest
from made_up import finished
from PIL import Image
from repository import ROOT, clone, kdx2i, settings_copy

from kdx2i.errors import UserError
from kdx2i.files import write_bytes, write_json, write_text
from kdx2i.inspection.verify import verify
from kdx2i.provenance import problem
from kdx2i.report.evidence import as_json, read_log
from kdx2i.report.page import render
from kdx2i.report.pictures import Pictures
from kdx2i.report.sources import reference_sources
from kdx2i.stages import report
from kdx2i.suite import make_plan


@pytest.fixture(scope="module")
def ablation() -> str:
    return render(reference_sources(ROOT, ["open-ablation"]))


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
    assert (
        "The claims of the paper&#39;s text are not evaluated" in ablation or "not evaluated in this report" in ablation
    )


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


def test_two_runs_give_the_same_bytes(ablation: str) -> None:
    assert render(reference_sources(ROOT, ["open-ablation"])) == ablation


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


CLAIMS = {
    "format": "kdx2i-claims-1",
    "source": "preset open-smoke",
    "counts": {"supported": 1, "contradicted": 0},
    "claims": [
        {
            "id": "ours", "section": "Section 4.1", "quote": "ours is better", "says": "Ours is before StarGANv2",
            "outcome": "supported", "why": "all intervals lie above zero", "seeds": 3, "needed": None, "judged": 1,
            "of": 1, "printed": 1, "printed_of": 1,
            "pairs": [
                {
                    "table": "table1", "part": "latent", "dataset": "birds", "metric": "mFID", "better": "Ours",
                    "than": "StarGANv2", "difference": 2.0, "low": 1.0, "high": 3.0, "seeds": 3, "printed": 0.1,
                    "outcome": "supported", "reason": "",
                }
            ],
        }
    ],
}  # fmt: skip


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
    assert "not evaluated in this report" in page
    write_json(plan.root / "results/open-smoke/claims.json", CLAIMS)
    stale = problem(report.current_report(make_plan(plan.root, "open-smoke"), ["table1"]))
    assert stale is not None
    assert stale.kind == "stale"
    report.run(plan, report.current_report(make_plan(plan.root, "open-smoke"), ["table1"]))
    page = leaf.file("report.html").read_text()
    assert "Ours is before StarGANv2" in page
    assert "1 supported, 0 contradicted" in page
    write_json(plan.root / "results/open-smoke/claims.json", [])
    with pytest.raises(UserError, match="does not hold claims"):
        report.run(plan, report.current_report(make_plan(plan.root, "open-smoke"), ["table1"]))


def test_the_command_line_says_what_goes_together(tmp_path: Path) -> None:
    root = settings_copy(tmp_path)
    refused = kdx2i(ROOT, "report", "--reference", "open", "table1")
    assert refused.returncode == 2
    assert "leave out the names" in refused.stderr
    refused = kdx2i(ROOT, "report", "--output", str(root / "x.html"))
    assert refused.returncode == 2
    assert "--output belongs to --reference" in refused.stderr
