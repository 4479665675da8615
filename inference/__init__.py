"""Programs that fit and question Pyro programs: fit, evaluate and demo, behind ``python -m inference``."""
