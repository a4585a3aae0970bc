"""A headless Chromium that loads nothing from outside; tests skip visibly where there is none."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@contextmanager
def chromium() -> Iterator[Any]:
    """Start the system's Chromium (Debian: `apt-get install chromium`)."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("Chromium is not installed (apt-get install chromium): the pages are not opened in a browser")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, path: Path, *, width: int = 1280, height: int = 900, **options: Any) -> Iterator[Any]:
    """Open a file; a request that leaves it and an error of its scripts fail the test when it is closed."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    page = context.new_page()
    requests: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(path.as_uri())
    yield page
    context.close()
    outside = [url for url in requests if not url.startswith(("data:", "blob:")) and url != path.as_uri()]
    assert not outside
    assert not errors


def serious_findings(page: Any, *, colours_only: bool = False) -> list[str]:
    """Return what axe finds serious or critical on a page, with the first element of each."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if colours_only:
        options["runOnly"] = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
    violations = axe.Axe().run(page, options=options).response["violations"]
    return [
        f"{item['id']}: {item['help']}: {item['nodes'][0]['html'][:160]}"
        for item in violations
        if item["impact"] in ("serious", "critical")
    ]
