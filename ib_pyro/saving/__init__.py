"""Fitted programs in files that describe themselves, without pickle."""

from ib_pyro.saving.file_header import FileHeader, read_header
from ib_pyro.saving.restoring import load
from ib_pyro.saving.writing import save

__all__ = ["FileHeader", "load", "read_header", "save"]
