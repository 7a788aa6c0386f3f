"""Run the command line: ``python -m soundmark``."""

from soundmark.cli import main

if __name__ == "__main__":
    main()
