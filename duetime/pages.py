"""Where the documentation is, for texts that name a page: what pip installs has no ``docs/``."""

from __future__ import annotations

from typing import Final

SOURCE: Final = "https://github.com/duetime/duetime"
FILES: Final = f"{SOURCE}/blob/main"
DOCS: Final = f"{FILES}/docs"
