import dataclasses
import io
import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from repository import fabricate, fabricate_all, settings_copy
from rich.console import Console

from kdx2i import provenance
from kdx2i.errors import UserError
from kdx2i.files import read_json, sha256_file, write_bytes, write_json
from kdx2i.inspection import show as show_stage
from kdx2i.inspection.restore import restore
from kdx2i.inspection.verify import verify
from kdx2i.plan import Leaf, Plan
from kdx2i.provenance import git_commit, problem, require_current, split_sha256, write_provenance
from kdx2i.stages import compare as compare_stage
from kdx2i.stages import table as table_stage
from kdx2i.suite import make_plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_plan(settings_copy(tmp_path), "open-smoke")


@pytest.fixture
def leaves(plan: Plan) -> list[Leaf]:
    return fabricate_all(plan, "table1")


def again(plan: Plan) -> Plan:
    return make_plan(plan.root, "open-smoke")


def edit_preset(plan: Plan, stage: str, **values: object) -> Plan:
    path = plan.root / "benchmarks/presets/open-smoke.yaml"
    data = yaml.safe_load(path.read_text())
    data["architectures"]["stargan_v2"][stage].update(values)
    path.write_text(yaml.safe_dump(data))
    return again(plan)


def kinds(plan: Plan) -> dict[str, str]:
    return {f.provenance.as_posix(): f.problem.kind for f in verify(plan) if f.problem is not None}


def test_a_provenance_says_what_the_result_is_made_from(plan: Plan, leaves: list[Leaf]) -> None:
    for leaf in leaves:
        document = read_json(leaf.provenance_path)
        assert document["identity"] == leaf.identity
        assert document["spec"] == leaf.spec.as_json()
        assert document["outputs"] == {name: sha256_file(leaf.file(name)) for name in leaf.outputs}
        assert document["preset"] == (None if leaf.kind.name == "split" else "open-smoke")
        assert document["inputs"] == {up.name: up.identity for up in leaf.inputs.values()}
        assert document["packages"]["torch"]
        split = plan.split("open-birds").file("split.csv")
        if leaf.kind.name != "distilled":
            assert document["split_sha256"] == sha256_file(split)
        if leaf.kind.name == "evaluation":
            assert document["weights_sha256"] == sha256_file(leaf.inputs["run"].file("networks.safetensors"))
            assert document["extractor"] == "open-drawings"
            assert document["protocol"]["resize-filter"] == "clean"
        assert problem(leaf) is None


def test_the_bytes_of_a_split_do_not_tell_whose_command_made_it(plan: Plan) -> None:
    split = next(leaf for leaf in plan.table("table1").upstream() if leaf.kind.name == "split")
    fabricate(plan, split)
    before = split.provenance_path.read_bytes()
    other = make_plan(plan.root, "open")
    write_provenance(other, other.leaf_at(split.directory / split.provenance))
    assert split.provenance_path.read_bytes() == before


@pytest.mark.parametrize("changed, suffix", [("results/metrics.json", ""), ("code.py", "-modified")])
def test_results_do_not_make_a_working_tree_modified(tmp_path: Path, changed: str, suffix: str) -> None:
    def git(*words: str) -> str:
        author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(["git", *author, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    for name in ("code.py", "results/metrics.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "all")
    (tmp_path / changed).write_text("2")
    assert git_commit(tmp_path) == git("rev-parse", "HEAD") + suffix


def test_an_unfinished_leaf_gets_no_provenance(plan: Plan, leaves: list[Leaf]) -> None:
    leaf = leaves[-1]
    leaf.provenance_path.unlink()
    leaf.file("metrics.json").unlink()
    with pytest.raises(UserError, match=r"not finished: metrics\.json is not there"):
        write_provenance(plan, leaf)
    assert not leaf.provenance_path.exists()


def test_everything_is_current_after_it_was_made(plan: Plan, leaves: list[Leaf]) -> None:
    assert kinds(plan) == {}
    assert len(verify(plan)) == len(leaves)


def test_a_changed_setting_is_named_and_spreads(plan: Plan, leaves: list[Leaf]) -> None:
    changed = edit_preset(plan, "train", learning_rate=0.5)
    problems = kinds(changed)
    assert set(problems.values()) == {"stale"}
    assert set(problems) == {f"{leaf.name}/provenance.json" for leaf in leaves if "/runs/" in leaf.name}
    run = changed.run("open-birds", "stargan_v2", "kd", 32, 0)
    evaluation = changed.evaluation("open-birds", "stargan_v2", "kd", 32, 0, "latent")
    assert "made with other settings (train.learning_rate)" in str(problem(run))
    assert f"what it is made from has changed ({run.name})" in str(problem(evaluation))
    with pytest.raises(UserError, match="is stale"):
        require_current([run])


def test_another_feature_network_makes_exactly_what_it_scores_stale(plan: Plan, leaves: list[Leaf]) -> None:
    path = plan.root / "benchmarks/features/open-drawings.safetensors"
    write_bytes(path, path.read_bytes() + b" ")
    changed = again(plan)
    problems = kinds(changed)
    assert set(problems.values()) == {"stale"}
    scored = [leaf for leaf in leaves if leaf.kind.name in ("evaluation", "controls", "classifier")]
    assert {leaf.kind.name for leaf in scored} == {"evaluation", "controls", "classifier"}
    assert set(problems) == {f"{leaf.name}/provenance.json" for leaf in scored}
    preset = plan.root / "benchmarks/presets/open-smoke.yaml"
    preset.write_text(preset.read_text().replace("extractor: open-drawings", "extractor: efficientnet-lite0"))
    assert all(not leaf.files for leaf in again(plan).table("table1").upstream() if leaf.kind.name == "controls")


def test_a_changed_byte_is_corrupt_and_a_lost_file_is_missing(plan: Plan, leaves: list[Leaf]) -> None:
    by_kind = {leaf.kind.name: leaf for leaf in leaves}
    weights = by_kind["run"].file("networks.safetensors")
    weights.write_bytes(b"!" + weights.read_bytes()[1:])
    by_kind["classifier"].file("classifier.safetensors").unlink()
    by_kind["distilled"].provenance_path.write_text("{")
    by_kind["controls"].provenance_path.unlink()
    problems = kinds(plan)
    assert problems == {
        f"{by_kind['run'].name}/provenance.json": "corrupt",
        f"{by_kind['classifier'].name}/provenance.json": "missing",
        f"{by_kind['distilled'].name}/provenance.json": "corrupt",
    }
    # Nothing on disk needs the controls yet; a table does.
    assert [f.problem.kind for f in verify(plan, ["table1"]) if f.leaf is by_kind["controls"] and f.problem] == [
        "missing"
    ]


@settings(max_examples=15)
@given(st.data())
def test_any_changed_byte_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    plan = make_plan(settings_copy(tmp_path_factory.mktemp("root")), "open-smoke")
    leaf = plan.split("open-birds")
    fabricate(plan, leaf)
    path = leaf.file("split.csv")
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    wrong = problem(leaf)
    assert wrong is not None and wrong.kind == "corrupt"
    assert problem(leaf, checksums=False) == wrong


def test_a_large_file_is_read_where_it_was_changed_after_the_provenance(
    plan: Plan, leaves: list[Leaf], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "SMALL", 0)
    run = next(leaf for leaf in leaves if leaf.kind.name == "run")
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "sha256_file", lambda _: pytest.fail("a file that nobody touched was read"))
        assert problem(run, checksums=False) is None
    weights = run.file("networks.safetensors")
    before = weights.stat()
    weights.write_bytes(b"!" + weights.read_bytes()[1:])
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    wrong = problem(run, checksums=False)
    assert wrong is not None and wrong.kind == "corrupt"
    with pytest.raises(UserError, match="`kdx2i restore` removes what is corrupt, then `snakemake` makes it again"):
        require_current([run])


@pytest.mark.parametrize(
    "edit",
    [{"inputs": []}, {"inputs": {}}, {"spec": {}}, {"files": {"x": "0"}}, {"kind": "split"}, {"outputs": 1},
     {"seed": 9}, {"device": "cpu: another"}, {"packages": {}}, {"read": {}}, {"instructions": 3}, {"more": None},
     {"sha256": None}],
    ids=str,
)  # fmt: skip
def test_an_edited_provenance_is_corrupt(plan: Plan, leaves: list[Leaf], edit: dict[str, object]) -> None:
    leaf = leaves[-1]
    write_json(leaf.provenance_path, {**read_json(leaf.provenance_path), **edit})
    wrong = problem(leaf, checksums=False)
    assert wrong is not None and wrong.kind == "corrupt"


def test_a_provenance_of_before_there_were_seals_serves(plan: Plan, leaves: list[Leaf]) -> None:
    document = read_json(leaves[-1].provenance_path)
    older = {name: value for name, value in document.items() if name not in ("sha256", "read", "threads")}
    write_json(leaves[-1].provenance_path, older)
    assert kinds(plan) == {}
    write_json(leaves[-1].provenance_path, {**older, "inputs": list(older["inputs"])})
    assert set(kinds(plan).values()) == {"corrupt"}


def test_what_was_made_from_other_bytes_of_the_same_identity_is_stale(plan: Plan, leaves: list[Leaf]) -> None:
    """As when a lost run is trained again on another machine."""
    run = next(leaf for leaf in leaves if leaf.kind.name == "run")
    run.file("networks.safetensors").write_bytes(b"of another machine")
    write_provenance(plan, run)
    of_run = [leaf for leaf in leaves if leaf.inputs.get("run") is run]
    assert len(of_run) == 2
    assert kinds(plan) == {f"{leaf.name}/provenance.json": "stale" for leaf in of_run}
    assert f"stale: {run.name} has been made again since, with other bytes" in str(problem(of_run[0]))


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-30])])
def test_lost_and_cut_images_of_a_split_are_seen_and_made_again(plan: Plan, leaves: list[Leaf], harm: object) -> None:
    split = plan.split("open-birds")
    harm(split.folder / "images/a/0.png")  # type: ignore[operator]
    (finding,) = [found for found in verify(plan) if found.problem is not None]
    assert finding.problem is not None and finding.problem.kind == "corrupt"
    assert "images/a/0.png" in finding.problem.sentence
    assert restore(plan, make_split=fabricate) == []
    assert kinds(plan) == {}


def test_a_table_is_made_from_current_leaves_only(plan: Plan, leaves: list[Leaf]) -> None:
    table = plan.rendered("table1")
    table_stage.run(plan, table)
    first = {name: table.file(name).read_bytes() for name in table.outputs}
    assert problem(table) is None
    table_stage.run(plan, table)
    assert {name: table.file(name).read_bytes() for name in table.outputs} == first
    run = next(leaf for leaf in leaves if leaf.kind.name == "run")
    run.file("networks.safetensors").write_bytes(b"other")
    with pytest.raises(UserError, match="corrupt"):
        table_stage.run(plan, table)
    run.provenance_path.unlink()
    with pytest.raises(UserError, match="missing"):
        table_stage.run(plan, table)


def test_a_table_refuses_leaves_of_another_setting(plan: Plan, leaves: list[Leaf]) -> None:
    changed = edit_preset(plan, "distill", learning_rate=0.5)
    with pytest.raises(UserError, match=r"distilled.* is stale: .*distill\.learning_rate"):
        table_stage.run(changed, changed.rendered("table1"))


def test_a_preview_shows_what_is_there_and_says_what_is_not(
    plan: Plan, leaves: list[Leaf], capsys: pytest.CaptureFixture[str]
) -> None:
    lost = plan.evaluation("open-birds", "stargan_v2", "kd", 32, 0, "latent")
    lost.provenance_path.unlink()
    problems = table_stage.preview(plan, "table1")
    assert {p.sentence for p in problems} == {f"{lost.name} is missing: it has not been computed, or not finished"}
    assert "missing" in capsys.readouterr().out
    assert not plan.rendered("table1").provenance_path.exists()


def test_a_comparison_covers_the_tables_that_are_current(plan: Plan, leaves: list[Leaf]) -> None:
    with pytest.raises(UserError, match="no current table"):
        compare_stage.current_tables(plan)
    table_stage.run(plan, plan.rendered("table1"))
    assert compare_stage.current_tables(plan) == ["table1"]
    leaf = plan.comparison(["table1"])
    assert list(compare_stage.run(plan, leaf)[1]) == []
    metrics = read_json(plan.root / "results/open-smoke/metrics.json")
    assert metrics["table1"]["latent"]["birds"]["Ours*"]["mFID"] > 0
    assert kinds(plan) == {}
    changed = edit_preset(plan, "train", learning_rate=0.5)
    assert {kind for path, kind in kinds(changed).items() if "provenance.json" in path} == {"stale"}
    assert "results/open-smoke/comparison.provenance.json" in kinds(changed)


def test_tables_keep_the_seeds_that_they_were_made_with(plan: Plan) -> None:
    two = make_plan(plan.root, "open-smoke", [0, 1])
    fabricate_all(two, "table1")
    table_stage.run(two, two.rendered("table1"))
    assert kinds(plan) == {}


def test_restore_removes_what_is_not_true_and_nothing_else(plan: Plan, leaves: list[Leaf]) -> None:
    table_stage.run(plan, plan.rendered("table1"))
    by_kind = {leaf.kind.name: leaf for leaf in leaves}
    by_kind["controls"].file("metrics.json").write_text("{}")
    stranger = plan.root / "results/open-smoke/notes.txt"
    stranger.write_text("mine")
    changed = edit_preset(plan, "distill", learning_rate=0.5)
    before = set(plan.root.glob("results/**/*"))
    planned = restore(changed, make_split=lambda *_: None, dry_run=True)
    assert set(plan.root.glob("results/**/*")) == before
    removed = restore(changed, make_split=lambda *_: None)
    assert {f.provenance for f in removed} == {f.provenance for f in planned}
    assert not by_kind["distilled"].provenance_path.exists()
    assert not by_kind["controls"].file("metrics.json").exists()
    assert not plan.rendered("table1").file("table1.csv").exists()
    scratch = changed.run("open-birds", "stargan_v2", "scratch", 32, 0)
    assert problem(scratch) is None
    assert stranger.read_text() == "mine"
    assert kinds(changed) == {}


def test_restore_makes_the_images_of_a_pulled_split(plan: Plan, leaves: list[Leaf]) -> None:
    split = plan.split("open-birds")
    split.provenance_path.unlink()
    restored: list[str] = []

    def make(_: Plan, leaf: Leaf) -> None:
        restored.append(leaf.name)
        fabricate(plan, leaf)

    assert restore(plan, make_split=make) == []
    assert restored == ["data/open-birds"]


def test_restore_refuses_a_split_that_comes_out_otherwise_and_keeps_the_pulled_table(
    plan: Plan, leaves: list[Leaf]
) -> None:
    split = plan.split("open-birds")
    split.provenance_path.unlink()
    pulled = split.file("split.csv").read_bytes()

    def make_otherwise(_: Plan, leaf: Leaf) -> None:
        fabricate(plan, leaf)
        leaf.file("split.csv").write_bytes(pulled + b"x")

    with pytest.raises(UserError, match=r"open-birds cannot be made as it was pulled: split\.csv comes out otherwise"):
        restore(plan, make_split=make_otherwise)
    assert split.file("split.csv").read_bytes() == pulled
    assert (fault := problem(split)) is not None and fault.kind == "missing"


def test_restore_makes_a_stale_split_anew(plan: Plan, leaves: list[Leaf]) -> None:
    split = plan.split("open-birds")
    write_json(split.provenance_path, {**read_json(split.provenance_path), "identity": "0"})

    split.file("split.csv").write_bytes(b"old")
    assert restore(plan, make_split=fabricate) == []
    assert problem(split) is None


def test_the_hash_of_a_split_with_conditions_covers_both_tables(plan: Plan, leaves: list[Leaf]) -> None:
    split = plan.split("open-birds")
    assert split_sha256(split) == sha256_file(split.file("split.csv"))
    conditioned = dataclasses.replace(split, variant="conditioned")
    hashes = set()
    for caption in ("a bird", "a red bird"):
        conditioned.file("conditions.csv").write_text(caption)
        hashes.add(split_sha256(conditioned))
    assert len(hashes | {split_sha256(split)}) == 3


def test_restore_forgets_results_that_no_preset_has(plan: Plan, leaves: list[Leaf]) -> None:
    old = plan.root / "results/open-smoke/controls/open-dodos/r32/provenance.json"
    write_json(old, {"identity": "0"})
    assert kinds(plan) == {old.relative_to(plan.root).as_posix(): "stale"}
    restore(plan, make_split=lambda *_: None)
    assert not old.exists()


def test_show_goes_from_a_number_to_its_origin(plan: Plan, leaves: list[Leaf]) -> None:
    stream = io.StringIO()
    show_stage.show(plan, "table1", "latent/ours*/BIRDS", Console(file=stream, width=300))
    text = stream.getvalue()
    evaluation = plan.evaluation("open-birds", "stargan_v2", "kd", 32, 0, "latent")
    value = json.loads(evaluation.file("metrics.json").read_text())["values"]["mFID"]["value"]
    for expected in (
        f"mFID = {value}  (10 real, 20 generated)",
        "seed 0: current",
        evaluation.identity,
        "--mode latent",
        "kdx2i distill --preset open-smoke",
        f"{evaluation.inputs['run'].directory}/log.jsonl",
        f"{evaluation.directory}/samples.png",
    ):
        assert expected in text
    stream.truncate(0)
    show_stage.show(plan, "table1", "SDIT/birds", Console(file=stream, width=300))
    assert "not yet computed: preset open-smoke has no resolution for 128 px" in stream.getvalue()
    with pytest.raises(UserError, match=r"no cell `nothing`; its cells are .*latent/Ours"):
        show_stage.show(plan, "table1", "nothing", Console(file=stream))


def test_identities_do_not_depend_on_the_place_or_time(plan: Plan, leaves: list[Leaf], tmp_path: Path) -> None:
    for leaf in leaves:
        os.utime(leaf.provenance_path, (1, 1))
    assert kinds(plan) == {}
    elsewhere = make_plan(settings_copy(tmp_path / "elsewhere"), "open-smoke")
    assert elsewhere.rendered("table1").identity == plan.rendered("table1").identity
