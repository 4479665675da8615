"""A demo on small digits: what information dropout is for and what it is not, from nothing in a minute and a half."""

from inference.studies.demo.clean_labels import CleanLabels
from inference.studies.demo.grid import GRID, Setting, grid_specs
from inference.studies.demo.study import run_studies
from inference.studies.demo.typicality import Typicality
from inference.studies.demo.whole_demo import run_demo
from inference.studies.demo.wrong_labels import WrongLabels

__all__ = [
    "GRID",
    "CleanLabels",
    "Setting",
    "Typicality",
    "WrongLabels",
    "grid_specs",
    "run_demo",
    "run_studies",
]
