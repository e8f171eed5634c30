"""A real Chromium, Debian's, driven by playwright; screenshots of what it shows are kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ALONE = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
"""As root in a small machine, and without a word to anybody."""
SCREENSHOTS = Path(os.environ.get("DUETIME_SCREENSHOTS", ".screenshots"))

Open = Callable[..., Page]


# Not for the session: while playwright runs, its event loop is this thread's, and nobody else's can run in it.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium here; `make browser` installs Debian's, as root")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ALONE))
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    """Opens pages; afterwards none may have asked another site for anything, or complained in its console."""
    pages: list[Page] = []
    complaints: list[str] = []

    def visit(url: str, *, width: int = 1280, height: int = 900, **context: object) -> Page:
        page = browser.new_context(viewport={"width": width, "height": height}, **context).new_page()  # type: ignore[arg-type]
        own = url.partition("://")[0] if url.startswith("file:") else url.split("/")[2]
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: None if own in request.url or request.url.startswith("data:")
                else complaints.append(f"asked for {request.url}"))  # fmt: skip
        page.goto(url)
        pages.append(page)
        return page

    yield visit
    for page in pages:
        page.context.close()
    assert complaints == []


@pytest.fixture
def picture() -> Callable[[Page, str], None]:
    """Keeps a screenshot under a name, for people to look at."""

    def picture(page: Page, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}.png")

    return picture


@pytest.fixture
def accessible() -> Callable[[Page], None]:
    """Fails on what axe calls serious or critical."""

    def accessible(page: Page) -> None:
        found = Axe().run(page).response["violations"]
        grave = [one for one in found if one["impact"] in {"serious", "critical"}]
        told = [f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes'][:3]]}" for one in grave]
        assert told == []

    return accessible
