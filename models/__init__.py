"""Pyro programs: the paper's networks and the special cases, one file a program."""
