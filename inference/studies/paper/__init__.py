"""The paper's figures and its table as programs: ``python -m inference paper``."""
