"""The user study in a real browser, from the first key to the analysis."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, opened, serious_findings
from repository import ROOT, kdx2i

from kdx2i.config.study import load_study
from kdx2i.files import write_json, write_text
from kdx2i.report.sources import reference_sources
from kdx2i.study.design import StudyKey
from kdx2i.study.page import key_path, make_study


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyKey]:
    config = load_study(ROOT).model_copy(update={"subjects": 2, "pairs": 8, "checks": 2})
    page, key = make_study(reference_sources(ROOT, ["open"])[0], config)
    path = tmp_path_factory.mktemp("study") / "study.html"
    write_text(path, page)
    write_json(key_path(path), key.model_dump(mode="json"))
    return path, key


def start(page: Any, subject: int) -> None:
    page.locator("#subject").select_option(str(subject))
    page.locator("#subject").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("#trial").wait_for()


def prefer_ours(page: Any, key: StudyKey, subject: int, first: int, last: int) -> None:
    for trial in key.trials[subject - 1][first:last]:
        page.keyboard.press("ArrowLeft" if trial.left == 0 else "ArrowRight")


def test_from_the_first_key_to_the_analysis(browser: Any, study: tuple[Path, StudyKey], tmp_path: Path) -> None:
    path, key = study
    with opened(browser, path, accept_downloads=True) as page:
        start(page, 2)
        assert page.locator("#target").inner_text() == key.targets[key.trials[1][0].request]
        prefer_ours(page, key, 2, 0, 4)
        assert page.locator("#place").inner_text() == "Choice 5 of 10"
        # A wrong key, taken back; then the page is closed in between, and goes on where it was.
        page.keyboard.press("ArrowRight" if key.trials[1][4].left == 0 else "ArrowLeft")
        page.keyboard.press("Backspace")
        page.reload()
        start(page, 2)
        assert page.locator("#place").inner_text() == "Choice 5 of 10"
        prefer_ours(page, key, 2, 4, 9)
        page.locator("#left" if key.trials[1][9].left == 0 else "#right").click()
        with page.expect_download() as download:
            page.keyboard.press("Enter")
        saved = tmp_path / download.value.suggested_filename
        download.value.save_as(saved)
        page.reload()
        start_again = page.locator("#subject")
        start_again.select_option("1")
        page.locator("#who button").click()
        assert page.locator("#place").inner_text() == "Choice 1 of 10"
    assert saved.name == "answers-02.json"
    done = kdx2i(ROOT, "study", str(saved), "--key", str(key_path(path)), "--json", "-")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["subjects"], result["complete"], result["choices"], result["careless"]) == (1, 1, 8, [])
    assert result["overall"]["share"] == 1
    assert {share["row"] for share in result["shares"]} == set(key.config.others)


def test_sides_show_what_the_key_says(browser: Any, study: tuple[Path, StudyKey]) -> None:
    path, key = study
    with opened(browser, path) as page:
        start(page, 1)
        data = json.loads(page.locator("#data").text_content())
        trial = key.trials[0][0]
        for side, row in (("left", trial.left), ("right", trial.right)):
            expected = data["noise"] if row < 0 else data["outputs"][row][trial.request]
            assert page.locator(f"#{side} img").get_attribute("src") == expected


def test_the_page_fits_a_narrow_screen_and_axe_finds_nothing_serious(
    browser: Any, study: tuple[Path, StudyKey]
) -> None:
    with opened(browser, study[0], width=360, height=740) as page:
        assert serious_findings(page) == []
        start(page, 1)
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        assert serious_findings(page) == []
