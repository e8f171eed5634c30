"""Fixtures for tests in a real Chromium, driven by playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # ships no types
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""As root on a small machine, and without requests of its own."""
SCREENSHOTS = Path(os.environ.get("DUETIME_SCREENSHOTS", ".screenshots"))

OpenPage = Callable[..., Page]
Screenshot = Callable[[Page, str], None]
AssertAccessible = Callable[[Page], None]


# Not for the session: while playwright runs, no other event loop can run in this thread.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed; as root, `make browser` installs Debian's")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens pages; fails afterwards if one requested another site or had an error in its console."""
    pages: list[Page] = []
    errors: list[str] = []

    def open_page(url: str, *, width: int = 1280, height: int = 900, **context: object) -> Page:
        page = browser.new_context(viewport={"width": width, "height": height}, **context).new_page()  # type: ignore[arg-type]  # any option
        own = url.partition("://")[0] if url.startswith("file:") else url.split("/")[2]
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: None if own in request.url or request.url.startswith("data:")
                else errors.append(f"requested {request.url}"))  # fmt: skip
        page.goto(url)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert errors == []


@pytest.fixture
def screenshot() -> Screenshot:
    """Keeps a screenshot under a name, for review by people."""

    def screenshot(page: Page, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.png")

    return screenshot


@pytest.fixture
def assert_accessible() -> AssertAccessible:
    """Fails on violations that axe calls serious or critical."""

    def assert_accessible(page: Page) -> None:
        found = Axe().run(page).response["violations"]
        serious = [violation for violation in found if violation["impact"] in {"serious", "critical"}]
        assert [
            f"{violation['id']}: {violation['help']}: {[node['html'][:200] for node in violation['nodes'][:3]]}"
            for violation in serious
        ] == []

    return assert_accessible
