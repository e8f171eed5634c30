"""A comparison in the forms that programs read: JSON, Markdown, JUnit XML, annotations of GitHub."""

from duetime.report.formats.outcome import Outcome
from duetime.report.formats.write import FORMATS, written

__all__ = ["FORMATS", "Outcome", "written"]
