"""Design, answers and analysis of the user study. All answers are made up here, by rules that the tests know."""

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from repository import ROOT, kdx2i

from kdx2i.config.study import StudyConfig, load_study
from kdx2i.errors import UserError
from kdx2i.files import write_json
from kdx2i.report.sources import Source, reference_sources
from kdx2i.study.analysis import StudyResult, analyse, fleiss_kappa
from kdx2i.study.answers import read_answers, read_key
from kdx2i.study.design import NOISE, StudyKey, Trial, draw_trials
from kdx2i.study.images import study_images
from kdx2i.study.page import make_study
from kdx2i.suite import make_plan
from kdx2i.workflow import Results

Rule = Callable[[Trial, random.Random], str]


@pytest.fixture(scope="module")
def made() -> tuple[str, StudyKey]:
    return make_study(reference_sources(ROOT, ["open"])[0], load_study(ROOT))


@pytest.fixture(scope="module")
def key(made: tuple[str, StudyKey]) -> StudyKey:
    return made[1]


def side_of(trial: Trial, row: int) -> str:
    return "left" if trial.left == row else "right"


def ours(trial: Trial, draw: random.Random) -> str:
    return side_of(trial, 0)


def ours_mostly(trial: Trial, draw: random.Random) -> str:
    """Prefer ours to the first row never, to the others in four of five pairs."""
    if trial.check:
        return side_of(trial, 0)
    other = max(trial.left, trial.right)
    return side_of(trial, other if other == 1 or draw.random() < 0.2 else 0)


def noise(trial: Trial, draw: random.Random) -> str:
    return side_of(trial, NOISE if trial.check else 0)


def answer(key: StudyKey, folder: Path, subject: int, rule: Rule, count: int | None = None) -> Path:
    draw = random.Random(subject)
    trials = key.trials[subject - 1][:count]
    answers = [{"trial": n, "choice": rule(trial, draw), "ms": 900} for n, trial in enumerate(trials)]
    path = folder / f"answers-{subject:02}.json"
    write_json(path, {"format": "kdx2i-answers-1", "study": key.study, "subject": subject, "answers": answers})
    return path


def analysed(key: StudyKey, paths: list[Path]) -> StudyResult:
    return analyse(key, read_answers(paths, key))


def test_the_design_is_the_papers() -> None:
    config = load_study(ROOT)
    assert (config.subjects, config.pairs) == (20, 100)
    trials = draw_trials(config, 48)
    assert draw_trials(config, 48) == trials
    sides: Counter[bool] = Counter()
    for own in trials:
        pairs = [trial for trial in own if not trial.check]
        assert (len(pairs), len(own)) == (100, 106)
        rows = Counter(max(trial.left, trial.right) for trial in pairs)
        assert set(rows) == set(range(1, 7))
        assert max(rows.values()) - min(rows.values()) <= 1
        assert len({(max(trial.left, trial.right), trial.request) for trial in pairs}) == 100
        sides.update(trial.left == 0 for trial in pairs)
    assert 900 < sides[True] < 1100
    more = draw_trials(config.model_copy(update={"subjects": 21}), 48)
    assert more[:20] == trials


def test_the_images_are_those_of_the_grids_and_their_targets() -> None:
    source, config = reference_sources(ROOT, ["open"])[0], load_study(ROOT)
    images = study_images(source, config)
    assert [len(images.targets), len(images.inputs), len(images.outputs["SDIT"])] == [48, 48, 48]
    assert {image.size for row in images.outputs.values() for image in row} == {(32, 32)}
    assert images.targets[0] == "bear"
    assert images.targets == sorted(images.targets)
    assert len({row[0].tobytes() for row in images.outputs.values()}) == 7


def test_the_page_names_no_row(made: tuple[str, StudyKey]) -> None:
    page, key = made
    for name in (*key.rows, *key.places.values(), "stargan", "Ours"):
        assert name not in page


def test_rows_without_images_and_of_other_requests_are_refused(tmp_path: Path) -> None:
    config = load_study(ROOT)
    source = reference_sources(ROOT, ["open"])[0]
    with pytest.raises(UserError, match="has no sample grid of table1 latent/Nobody/animal-faces"):
        study_images(source, config.model_copy(update={"others": ["Nobody"]}))
    with pytest.raises(UserError, match="was asked for other images than Ours"):
        study_images(source, config.model_copy(update={"others": ["StarGANv2*"]}))
    without = Source(source.root, source.folder, source.preset, (), ())
    with pytest.raises(UserError, match="has no table1, whose rows the user study shows"):
        study_images(without, config)
    with pytest.raises(ValueError, match="a row stands twice"):
        StudyConfig(**{**config.model_dump(), "others": ["Ours"]})


def test_a_preset_without_the_rows_of_the_study_is_refused_before_any_job() -> None:
    assert Results(make_plan(ROOT, "open"), lambda: ["user_study"]).needed_tables() == ["table1"]
    smoke = Results(make_plan(ROOT, "open-smoke"), lambda: ["user_study"])
    with pytest.raises(UserError, match="on animal-faces, where preset open-smoke does not run DMIT, DRIT"):
        smoke.needed_tables()


def test_preferences_strengths_and_intervals_follow_the_answers(key: StudyKey, tmp_path: Path) -> None:
    paths = [answer(key, tmp_path, subject, ours_mostly) for subject in range(1, 9)]
    result = analysed(key, paths)
    assert (result.subjects, result.complete, result.choices, result.planned_choices) == (8, 8, 800, 2000)
    shares = {share.row: share for share in result.shares}
    assert (shares["SDIT"].share, shares["SDIT"].low, shares["SDIT"].high) == (0, 0, 0)
    assert shares["SDIT"].verdict == "other preferred"
    for name in key.rows[2:]:
        assert 0.7 < shares[name].share < 0.9
        assert shares[name].low < shares[name].share < shares[name].high
        assert shares[name].verdict == "ours preferred"
    order = [item.row for item in result.strengths]
    assert order[:2] == ["SDIT", "Ours"]
    assert sum(item.strength for item in result.strengths) == pytest.approx(0, abs=1e-6)
    assert analysed(key, paths[::-1]) == result
    assert result.overall is not None
    wins = sum(share.share * share.pairs for share in result.shares)
    assert result.overall.share == pytest.approx(wins / 800)


def test_one_subject_has_no_interval_and_an_unfinished_one_counts(key: StudyKey, tmp_path: Path) -> None:
    result = analysed(key, [answer(key, tmp_path, 3, ours, count=30)])
    assert (result.subjects, result.complete) == (1, 0)
    assert result.overall is not None
    assert (result.overall.share, result.overall.low, result.overall.verdict) == (1, None, "cannot tell")
    assert result.kappa is None
    nothing = analysed(key, [answer(key, tmp_path, 4, ours, count=0)])
    assert (nothing.overall, nothing.shares, nothing.strengths) == (None, [], [])


def test_who_prefers_noise_is_left_out_and_named(key: StudyKey, tmp_path: Path) -> None:
    result = analysed(key, [answer(key, tmp_path, 1, ours), answer(key, tmp_path, 2, noise)])
    assert (result.subjects, result.careless, result.choices) == (1, [2], 100)


def test_kappa_is_fleiss() -> None:
    """Ten items of Fleiss (1971) would need five categories: here two, by hand, and chance and full agreement."""
    ratings = {0: [True, True], 1: [True, False], 2: [False, False], 3: [True, True, False]}
    agreed = (1 + 0 + 1 + 1 / 3) / 4
    first = 5 / 9
    chance = first**2 + (1 - first) ** 2
    assert fleiss_kappa(ratings) == (pytest.approx((agreed - chance) / (1 - chance)), 4)
    assert fleiss_kappa({0: [True, True], 1: [False, False], 2: [True]}) == (1, 2)
    assert fleiss_kappa({0: [True, True]}) == (None, 1)
    draw = random.Random(0)
    kappa, _ = fleiss_kappa({n: [draw.random() < 0.5 for _ in range(6)] for n in range(3000)})
    assert kappa == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"study": "another"}, "answers another study"),
        ({"subject": 21}, "there is no subject 21; the study has 20"),
        ({"subject": 0}, "does not hold the answers of a user study: subject"),
        ({"answers": [{"trial": 1, "choice": "left", "ms": 1}]}, "the trials are not 0, 1, 2"),
        ({"answers": [{"trial": 0, "choice": "both", "ms": 1}]}, "does not hold the answers of a user study"),
        ({"format": "x"}, "does not hold the answers of a user study: format"),
    ],
)
def test_wrong_answers_are_refused(key: StudyKey, tmp_path: Path, change: dict, sentence: str) -> None:
    path = answer(key, tmp_path, 1, ours)
    write_json(path, json.loads(path.read_text()) | change)
    with pytest.raises(UserError, match=sentence):
        read_answers([path], key)


def test_two_files_of_one_subject_are_refused(key: StudyKey, tmp_path: Path) -> None:
    path = answer(key, tmp_path, 1, ours)
    (tmp_path / "copy.json").write_text(path.read_text())
    with pytest.raises(UserError, match="subject 1 has answered in another file too"):
        read_answers([path, tmp_path / "copy.json"], key)


def test_the_command_prints_the_analysis_and_names_a_missing_key(key: StudyKey, tmp_path: Path) -> None:
    write_json(tmp_path / "key.json", key.model_dump(mode="json"))
    assert read_key(tmp_path / "key.json") == key
    paths = [str(answer(key, tmp_path, subject, ours_mostly)) for subject in (1, 2, 3)]
    done = kdx2i(ROOT, "study", *paths, "--key", str(tmp_path / "key.json"))
    assert done.returncode == 0, done.stderr
    assert "3 of the paper's 20 subjects, 300 of 2000 choices" in " ".join(done.stdout.split())
    assert "Fleiss' kappa" in done.stdout
    refused = kdx2i(ROOT, "study", *paths, "--key", str(tmp_path / "none.json"))
    assert refused.returncode == 2
    assert "is the key that `snakemake user_study` writes beside the page" in refused.stderr
