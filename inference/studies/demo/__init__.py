"""A comparison of dropouts on small digits, from nothing to a table and figures in a minute."""

from inference.studies.demo.comparison import compare
from inference.studies.demo.grid import GRID, Setting, grid_specs

__all__ = ["GRID", "Setting", "compare", "grid_specs"]
