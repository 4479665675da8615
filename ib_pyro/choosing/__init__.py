"""Choosing beta from a sweep, on held-out columns alone."""

from ib_pyro.choosing.choice_of_beta import BetaChoice, choose_beta

__all__ = ["BetaChoice", "choose_beta"]
