"""The version of the package, as traces and files of the package name it."""

__version__ = "0.1.0"
