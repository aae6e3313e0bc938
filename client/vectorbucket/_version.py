"""The one version of client, server and contract package; read by pyproject.toml."""

__version__ = "0.1.0"
