"""What the installed ArviZ takes for an expected log predictive density, filled with one that is held out."""

import math
from functools import cache
from importlib.metadata import version
from typing import Any

import xarray as xr

__all__ = ["elpd_data"]


def elpd_data(pointwise: xr.DataArray, *, error: float, num_draws: int, warning: bool) -> Any:  # noqa: ANN401
    """Return the ``ELPDData`` of pointwise values.

    Args:
        pointwise: Log predictive density of each row, nats.
        error: Standard error of their sum.
        num_draws: Number of draws behind each.
        warning: Whether to mark it as doubtful.
    """
    facts = {"se": error, "n_samples": num_draws, "n_data_points": pointwise.size, "warning": warning}
    total = float(pointwise.sum())
    if int(version("arviz").split(".")[0]) < 1:
        return _of_arviz_0(pointwise, total, facts)
    return _of_arviz_1(pointwise, total, facts)


def _of_arviz_0(pointwise: xr.DataArray, total: float, facts: dict[str, Any]) -> Any:  # noqa: ANN401

    # The names say which criterion it is, and `compare` knows these alone; the order is that of `arviz.loo`.
    values = {
        "elpd_loo": total,
        "se": facts["se"],
        "p_loo": math.nan,
        **facts,
        "loo_i": pointwise.rename("loo_i"),
        "scale": "log",
    }
    return _class_of_arviz_0()(data=list(values.values()), index=list(values))


def _of_arviz_1(pointwise: xr.DataArray, total: float, facts: dict[str, Any]) -> Any:  # noqa: ANN401
    from arviz_stats.utils import ELPDData  # type: ignore[import-not-found, unused-ignore]

    # Its kind is none that it knows, so that `compare` refuses to rank it beside values of `arviz.loo`.
    return ELPDData(
        elpd=total, p=math.nan, elpd_i=pointwise, scale="log", good_k=None, pareto_k=None, **facts
    )


@cache
def _class_of_arviz_0() -> Any:  # noqa: ANN401
    from arviz.stats.stats_utils import ELPDData

    class HeldOutELPD(ELPDData):
        def __str__(self) -> str:
            left_out = self["loo_i"].attrs.get("num_rows_not_observed", 0)
            others = f" ({left_out} that are not observed left out)" if left_out else ""
            return (
                f"Computed from {self['n_samples']} draws and {self['n_data_points']} held-out rows{others}.\n\n"
                f"{'':15} Estimate       SE\nelpd (held out) {self['elpd_loo']:8.2f}  {self['se']:7.2f}"
            )

    # Found by pickle through this module's own look-up of names.
    HeldOutELPD.__module__, HeldOutELPD.__qualname__ = __name__, "HeldOutELPD"
    return HeldOutELPD


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name == "HeldOutELPD":
        return _class_of_arviz_0()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
