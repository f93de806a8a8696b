"""``python -m siftem``."""

from siftem.cli.main import entry

entry()
