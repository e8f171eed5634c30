"""The league: every library and every design of this project in every scenario, on one page."""
