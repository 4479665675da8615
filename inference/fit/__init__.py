"""Fitting and evaluating programs on tensors: knows no configuration and no folder."""
