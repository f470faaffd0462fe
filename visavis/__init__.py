"""The command line, the configuration, and files in and out."""

__version__ = "0.1.0"
