"""The held-out log predictive density of an export, as what ``arviz.compare`` takes."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import logsumexp

from ib_pyro.choices import require_known
from ib_pyro.export.observed_part import label_of_observed
from ib_pyro.export.rows_in_common import FITTED_TO, NUM_ROWS_FITTED_TO

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["elpd"]

DRAWS = ("chain", "draw")


def elpd(
    export: Any,  # noqa: ANN401 (an InferenceData, or a DataTree)
    *,
    var_name: str | None = None,
    chains: Literal["mean", "ensemble"] | None = None,
    data_dim: str | None = None,
) -> Any:  # noqa: ANN401 (as the installed ArviZ has it)
    r"""Return the log predictive density of rows that a program was not fitted to.

    With draws ``z_s ~ p(z|x_n)`` of an encoder, which has not seen ``y_n``, the expected log pointwise predictive
    density is estimated without importance weights, as what a test set is for:

    .. math::
        \text{elpd}_n = \log \frac1S \sum_{s=1}^S p(y_n \mid z_s), \qquad
        \text{elpd} = \sum_n \text{elpd}_n, \qquad
        \text{se} = \sqrt{N \operatorname{Var}_n \text{elpd}_n},

    in nats. All observations of a row are one: their log densities are added before the mean over draws. What a mask
    takes out, such as the rows without a label of a semi-supervised program, is no observation: rows of which nothing
    is observed are left out, and N, ``n_data_points``, is the number of the others.

    With several programs as chains there are two answers, and ``chains`` says which is meant: the mean over the
    programs of their own ``elpd_n``, how well one of them predicts, or the density of their ``ensemble``, the mean
    over all draws of all programs, which is never below it.

    ``arviz.compare({"a": elpd(a), "b": elpd(b)})`` ranks programs; its ``dse`` is the standard error of the *paired*
    difference over rows, which must be the same in all exports, and in the same order. (In ArviZ 0.x the columns are
    called ``elpd_loo`` and ``p_loo``: it knows no other name. Nothing is left out and weighted here, and no number
    of effective parameters is estimated: ``p`` is NaN. It also compares such with values of
    ``arviz.loo`` without a word, which ArviZ 1.x refuses.) The standard error is that of the sample of rows alone;
    that of a fit needs several seeds.

    Args:
        export: What :func:`to_arviz` returned for rows that the program was not fitted to, with y.
        var_name: The observed site whose density is meant; by default all of them together.
        chains: ``"mean"`` or ``"ensemble"``; needed where there are several programs.
        data_dim: Name of the dimension of rows, where it was renamed and the group ``constant_data`` left out.

    Returns:
        An ``ELPDData`` of the installed ArviZ: ``.elpd_loo``, ``.se``, ``.loo_i`` (one value a row) in 0.x,
        ``.elpd``, ``.se``, ``.elpd_i`` in 1.x. ``warning`` is set, and a warning given, where draws are so few that
        the estimate, which is too low by about :math:`\sum_n \operatorname{Var}_s(w_{ns}) / 2S` with
        :math:`w_{ns} = p(y_n|z_s) / \text{mean}_s`, is so by more than half its standard error.
        The attribute ``num_rows_not_observed`` of the pointwise values says how many rows were left out.

    Raises:
        TypeError: If the export has no log likelihood.
        ValueError: If rows are known to be among those fitted, there is one draw or observed row alone, it is not said
            how several chains are meant, a site has no rows, or a density is 0 under all draws or no number.

    Example:
        >>> import torch
        >>> from ib_pyro import Bottleneck, to_arviz
        >>> from ib_pyro.nn import InformationDropout
        >>> program = Bottleneck(InformationDropout.linear(4, 3), torch.nn.Linear(3, 2))
        >>> result = to_arviz(
        ...     program, torch.rand(5, 4), torch.tensor([0, 1, 1, 0, 1]), num_samples=50
        ... )
        >>> int(elpd(result).n_data_points)
        5
    """
    # xarray takes a second to import: not before it is needed.
    import xarray as xr

    from ib_pyro.export.elpd_data import elpd_data

    log_likelihood = _log_likelihood(export, var_name)
    rows = data_dim or _name_of_rows(export)
    per_draw, is_observed = _per_row(log_likelihood, rows)
    _require_held_out(export, log_likelihood.isel({rows: is_observed}), rows)
    per_draw = per_draw.transpose(*DRAWS, rows).isel({rows: is_observed})
    _require_usable(per_draw, chains, len(is_observed))
    values = np.asarray(per_draw.values, dtype=np.float64)
    if chains != "mean":
        values = values.reshape(1, -1, values.shape[-1])
    by_chain = logsumexp(values, axis=1) - np.log(values.shape[1])
    _require_finite(by_chain, per_draw[rows].values)
    attrs = {"num_rows_not_observed": int((~is_observed).sum())}
    pointwise = xr.DataArray(by_chain.mean(0), {rows: per_draw[rows]}, (rows,), name="elpd_i", attrs=attrs)
    too_low = float(_bias(values, by_chain).sum())
    error = float(np.sqrt(pointwise.size * pointwise.values.var()))
    too_few = too_low > error / 2
    if too_few:
        warnings.warn(
            f"elpd: {values.shape[1]} draws are few for these rows: the sum is about {too_low:.2g} nats too low, "
            f"beside a standard error of {error:.2g}; export more draws",
            stacklevel=2,
        )
    num_draws = per_draw.sizes["chain"] * per_draw.sizes["draw"]
    return elpd_data(pointwise, error=error, num_draws=num_draws, warning=too_few)


def _log_likelihood(export: Any, var_name: str | None) -> "xr.Dataset":  # noqa: ANN401
    try:
        group = export["log_likelihood"]
    except (KeyError, TypeError, AttributeError) as error:
        raise TypeError(
            "export: it has no group 'log_likelihood'; export held-out rows with their y: to_arviz(program, x, y)"
        ) from error
    dataset: xr.Dataset = group if hasattr(group, "reindex") else group.to_dataset()  # a DataTree's node
    if var_name is not None:
        require_known("var_name=", var_name, [str(name) for name in dataset.data_vars])
        return dataset[[var_name]]
    return dataset


def _attributes(export: Any) -> Mapping[str, Any]:  # noqa: ANN401
    return {**export["log_likelihood"].attrs, **export.attrs}


def _require_held_out(export: Any, observed: "xr.Dataset", rows: str) -> None:  # noqa: ANN401
    if FITTED_TO in observed.coords:
        fitted = int(observed[FITTED_TO].values.astype(bool).sum())
        way_out = f", or leave them out: export.isel({rows}=~export['log_likelihood'][{FITTED_TO!r}].values)"
    else:  # an export of an earlier version, which says it of all rows together
        fitted, way_out = int(_attributes(export).get(NUM_ROWS_FITTED_TO, 0)), ""
    if fitted:
        raise ValueError(
            f"export: {fitted} of its rows are among those that the program was fitted to, whose density says "
            f"little of new ones; export others{way_out}"
        )


def _name_of_rows(export: Any) -> str:  # noqa: ANN401
    try:
        return str(export["constant_data"]["index"].dims[0])
    except (KeyError, AttributeError):
        return "obs_id"


def _per_row(log_likelihood: "xr.Dataset", rows: str) -> "tuple[xr.DataArray, np.ndarray]":
    """Add up what belongs to a row, draw by draw, and say of each row whether anything of it is observed."""
    total: xr.DataArray | None = None
    is_observed: np.ndarray | Literal[False] = False
    for name, values in log_likelihood.data_vars.items():
        if rows not in values.dims:
            raise ValueError(
                f"site {name!r}: its density has the dimensions {values.dims}, and not {rows!r}, that of the rows: it "
                "belongs to no row; name another with var_name=, or the rows' with data_dim="
            )
        own = [dim for dim in values.dims if dim not in (*DRAWS, rows)]
        part = log_likelihood.coords.get(label_of_observed(str(name)))
        values = values.reset_coords(drop=True).astype(np.float64)
        if part is None:
            is_observed = np.ones(values.sizes[rows], bool)
        else:
            part = part.reset_coords(drop=True).astype(bool)
            values = values.where(part, 0.0)
            is_observed = is_observed | part.any([dim for dim in part.dims if dim != rows]).values
        summed = values.sum(own, skipna=False)
        total = summed if total is None else total + summed
    assert total is not None
    assert isinstance(is_observed, np.ndarray)
    return total, is_observed


def _require_usable(per_draw: "xr.DataArray", chains: str | None, num_all: int) -> None:
    num_chains, num_draws, num_rows = per_draw.shape
    if num_draws < 2:
        raise ValueError(
            "export: it has one draw, whose log density is the distortion and no predictive density; export more, "
            "with num_samples="
        )
    if num_rows < 2:
        found = "one row" if num_rows == num_all == 1 else f"{num_rows or 'no'} observed row of {num_all}"
        raise ValueError(f"export: it has {found}, which has no standard error; export more rows")
    if chains is not None:
        require_known("chains=", chains, ("mean", "ensemble"))
    elif num_chains > 1:
        raise ValueError(
            f"chains: the export holds {num_chains} programs; pass chains='mean' for how well one of them predicts, "
            "or chains='ensemble' for all of them averaged"
        )


def _require_finite(by_chain: np.ndarray, labels: np.ndarray) -> None:
    wrong = ~np.isfinite(by_chain).all(0)
    if wrong.any():
        row, value = labels[wrong][0], by_chain[:, wrong][:, 0]
        raise ValueError(
            f"row {row}: its log density is {value.tolist()} ({int(wrong.sum())} such rows of {len(wrong)}), and so "
            "is that of all rows: no program can be compared; look at the likelihood, whose probabilities may be 0"
        )


def _bias(values: np.ndarray, by_chain: np.ndarray) -> np.ndarray:
    """How much too low the log of a mean over so many draws is, to first order, by row."""
    relative = np.exp(values - by_chain[:, None])
    return (relative.var(1, ddof=1) / (2 * values.shape[1])).mean(0)
