"""Answer any number of prompts with hosted language models, as fast as the quota allows, and lose none of them."""

from wingbeat._version import __version__

__all__ = ["__version__"]
