"""Research and trading of a spot / perpetual basis: from quotes in JupyterLab to an unattended runner."""

__version__ = "0.1.0"
