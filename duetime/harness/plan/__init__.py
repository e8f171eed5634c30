"""What a run is going to do, as data. No driver is imported here."""
