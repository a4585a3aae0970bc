"""The report of the committed reference of the default preset, opened in a real browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, opened, serious_findings
from repository import ROOT

from kdx2i.stages.report import write_reference_report

NUMBERS = "#cells-table tbody tr:not([hidden])"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_reference_report(ROOT, ["open"], path)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


def test_the_page_is_one_file_of_less_than_15_megabytes(report: Path) -> None:
    assert report.stat().st_size < 15_000_000


def test_a_number_opens_its_lineage_from_the_keyboard_and_closes_again(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        page.locator("#table-table1 button.cell").first.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        key = page.evaluate("document.activeElement.dataset.cell")
        assert key == "table1/latent/1/animal-faces/mFID"
        page.keyboard.press("Enter")
        text = page.locator("#lineage").inner_text()
        assert "DMIT, animal-faces, mFID" in text
        command = "kdx2i evaluate --preset open --dataset open-animal-faces --architecture dmit --transfer scratch"
        assert f"{command} --resolution 32 --seed 0 --mode latent" in text
        assert "results/reference/open/runs/open-animal-faces/dmit/scratch/r32/s0/log.jsonl" in text
        assert page.locator("#lineage .leaf").count() == 3
        page.keyboard.press("Escape")
        assert not page.locator("#lineage").is_visible()
        assert page.evaluate("document.activeElement.dataset.cell") == key


def test_numbers_are_sorted_as_numbers_and_back(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        heading = page.locator("#cells-table thead th", has_text="Here")

        def numbers() -> list[float]:
            return [float(text) for text in page.locator(f"{NUMBERS} td:nth-child(7)").all_inner_texts()]

        before = numbers()
        heading.locator("button").click()
        assert numbers() == sorted(before)
        assert heading.get_attribute("aria-sort") == "ascending"
        heading.locator("button").press("Enter")
        assert numbers() == sorted(before, reverse=True)


def test_the_filter_keeps_what_has_all_words_and_says_how_many(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        page.keyboard.press("/")
        page.keyboard.type("latent birds transferi2i")
        rows = page.locator(NUMBERS)
        assert rows.count() == 4
        assert page.locator("form[data-for=cells-table] output").inner_text().startswith("4 of ")
        page.locator("form[data-for=cells-table] select[data-column='3']").select_option("mFID")
        assert rows.count() == 1
        page.locator("form[data-for=cells-table] button[type=reset]").click()
        page.wait_for_function("document.querySelectorAll('#cells-table tbody tr[hidden]').length === 0")


def test_a_picture_is_enlarged(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        page.locator("#gallery button.picture").first.click()
        image = page.locator("#zoom-body img")
        width = image.bounding_box()["width"]
        page.get_by_role("button", name="Larger").click()
        assert image.bounding_box()["width"] == pytest.approx(2 * width)


def test_a_link_to_losses_opens_them(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        assert not page.locator("#losses-0 svg").first.is_visible()
        page.evaluate("location.hash = '#losses-0'")
        page.locator("#losses-0 svg").first.wait_for()


def test_a_narrow_screen_has_no_sideways_scroll(browser: Any, report: Path) -> None:
    with opened(browser, report, width=360, height=740) as page:
        page.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        page.locator("#table-table1 button.cell").first.click()
        assert page.locator("#lineage").bounding_box()["width"] <= 360


def test_dark_mode_follows_the_system_and_the_switch(browser: Any, report: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, report, color_scheme="light") as page:
        light = page.evaluate(background)
        page.locator("#theme").click()
        dark = page.evaluate(background)
    assert light == "rgb(255, 255, 255)"
    assert dark != light
    with opened(browser, report, color_scheme="dark") as page:
        assert page.evaluate(background) == dark


def test_print_opens_what_is_closed_and_leaves_out_the_controls(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        assert page.locator("details:not([open])").count() == 0
        assert not page.locator("nav").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Any, report: Path, scheme: str) -> None:
    """Of rows, entries and pictures that repeat one markup a few are looked at: axe takes a minute for all.

    The schemes differ in colours only.
    """
    dark = scheme == "dark"
    with opened(browser, report, color_scheme=scheme) as page:
        repeated = "table.list tbody tr, #entries > *, #gallery > *, #losses details, .grid tbody tr"
        page.evaluate(f"""for (const item of document.querySelectorAll("{repeated}"))
            if ([...item.parentElement.children].indexOf(item) >= 6) item.remove()""")
        page.locator("#table-table1 button.cell").first.click()
        assert serious_findings(page, colours_only=dark) == []
        page.keyboard.press("Escape")
        assert serious_findings(page, colours_only=dark) == []
