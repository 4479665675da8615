"""The version of ib_pyro, read by the build and by the package."""

__all__ = ["__version__"]

__version__ = "0.1.0"
