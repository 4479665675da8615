"""The programs of the differential table; importing this package fills it."""

from tests.ib_pyro.differential.programs import (
    guides,
    handlers,
    layers,
    networks,
    orders,
    plates,
    sites,
    statistics,
)

__all__ = ["guides", "handlers", "layers", "networks", "orders", "plates", "sites", "statistics"]
