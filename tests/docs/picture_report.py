"""Draw README's picture, a part of a report: ``python -m tests.docs.picture_report REPORT.html``."""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser import ARGUMENTS, CHROMIUM
from tests.docs.pages import ROOT

PICTURE = ROOT / "docs" / "pictures" / "report.png"
MARGIN = 4


def draw(report: Path) -> None:
    """Write the legend and the lanes of the run that `report` opens on."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = browser.new_page(viewport={"width": 1180, "height": 1400}, color_scheme="light")
        page.goto(report.resolve().as_uri())
        page.wait_for_selector("body.ready")
        boxes = [page.locator(part).bounding_box() for part in ("#legend", "#lanes")]
        [legend, lanes] = [box for box in boxes if box]
        top, left = legend["y"] - MARGIN, lanes["x"] - MARGIN
        clip = {"x": left, "y": top, "width": lanes["width"] + 2 * MARGIN, "height": lanes["y"] + lanes["height"] - top}
        page.screenshot(path=PICTURE, full_page=True, clip=clip)  # type: ignore[arg-type]  # a mapping will do
        browser.close()


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
