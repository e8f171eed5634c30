"""``python -m duetime.cli``."""

from duetime.cli.main import main

main()
