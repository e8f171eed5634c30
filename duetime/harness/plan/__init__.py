"""The plan of a run as data. No driver is imported here."""
