"""``python -m soundmark.cli``."""

from soundmark.cli import main

main()
