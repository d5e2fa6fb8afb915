"""``python -m wingbeat``: the same as the command."""

from wingbeat.cli import main

if __name__ == "__main__":
    main()
