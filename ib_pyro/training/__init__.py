"""Fitting programs, and what a fitted one does on a set."""

__all__: list[str] = []
