"""Axes without a window, and the promise that no plot changes a global setting."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure


@pytest.fixture(autouse=True)
def same_settings():
    """Compare Matplotlib's settings before and after a test, and close its figures."""
    before = dict(mpl.rcParams)
    yield
    assert dict(mpl.rcParams) == before
    plt.close("all")


@pytest.fixture
def ax():
    return Figure().subplots()
