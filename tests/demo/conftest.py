"""A demo that the tests of this package share, and its page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.browser import OpenPage
from tests.demo.running_demo import Demo, running


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running(tmp_path_factory.mktemp("saved")) as demo:
        yield demo


@pytest.fixture
def live(demo: Demo, open_page: OpenPage) -> Page:
    """The connected page, with all workers up, no traffic and no fault."""
    demo.send("traffic", per_second=0)
    demo.send("heal_all")
    page = open_page(demo.url)
    page.wait_for_selector("#begin:not([disabled])")
    page.wait_for_selector(".chip")
    return page
