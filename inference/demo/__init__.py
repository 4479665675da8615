"""A comparison of dropouts on small digits, from nothing to a table and figures in a minute."""

from inference.demo.comparison import compare
from inference.demo.grid import GRID, Setting, grid_configs

__all__ = ["GRID", "Setting", "compare", "grid_configs"]
