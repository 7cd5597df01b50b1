"""A store on one page: facts gathered from it, drawn as charts, put into a single HTML file."""

from oor.report.facts import Facts, gather
from oor.report.page import page

__all__ = ["Facts", "gather", "page"]
