"""The posterior of a fitted program as an ArviZ object."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ib_pyro.buffers import buffers_kept
from ib_pyro.checks import require_count
from ib_pyro.elbo.weights import Weight
from ib_pyro.export.chains import prepare_chains
from ib_pyro.export.names import as_row_labels
from ib_pyro.export.program import (
    Argument,
    Program,
    ProgramLike,
    Rows,
    resolve_inputs,
    resolve_programs,
    seeded,
    taking_keywords,
    warn_if_batch_norm_trains,
)
from ib_pyro.export.random_streams import Streams
from ib_pyro.export.rows_in_common import FITTED_TO, NUM_ROWS_FITTED_TO, common_rows
from ib_pyro.export.wishes import Wishes, as_seed
from ib_pyro.provenance import beta_attributes, version_attributes

__all__ = ["to_arviz"]

InferenceTree = Any
"""An ``arviz.InferenceData`` or an ``xarray.DataTree``, as the installed ArviZ has it."""


def to_arviz(
    program: ProgramLike | list[ProgramLike],
    x: Rows,
    y: Argument | None = None,
    *,
    kwargs: Mapping[str, Argument] | None = None,
    num_samples: int = 100,
    sites: Iterable[str] | None = None,
    groups: Iterable[str] | None = None,
    batch_size: int | None = None,
    path: str | Path | None = None,
    overwrite: bool = False,
    seed: int | None = None,
    beta: Weight | None = None,
    num_data: int | None = None,
    constant_data: Mapping[str, Tensor] | None = None,
    coords: Mapping[str, Sequence[Any]] | None = None,
    labels: Mapping[str, Tensor | Sequence[Any]] | None = None,
    fitted_to: Rows | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    data_dim: str = "obs_id",
    plate: str | None = None,
) -> InferenceTree:
    r"""Export draws from a fitted program, and all that follows from them, as what the installed ArviZ works with.

    With S draws ``z_s ~ p(z|x)`` for each of N rows of x, in one chain for each program, the groups are:

    * ``posterior``: of each site its value z and what is known of its noise, named after the site. Of a layer
      with log-normal noise ``z1`` that is ``z1_activation`` f(x), ``z1_alpha`` (standard deviation of log eps)
      and ``z1_log_eps``; of Gaussian noise ``_activation``, ``_alpha`` (variance of eps) and ``_eps``; of
      dropout ``_activation``, ``_drop_prob`` and ``_eps``; of additive noise ``_loc`` and ``_scale``. The model's
      ``pyro.deterministic`` sites stand here too;
    * ``sample_stats``: ``z1_rate``, the rate ``KL(p(z|x) || q(z))``, analytic where there is a closed form (the
      attribute ``estimator`` says so) and otherwise ``log p(z|x) - log q(z)`` at the draw, and 0 with ``estimator``
      ``"none"`` of a site that is not charged (``BinaryDropout``, whose KL is infinite); ``distortion``,
      ``-log p(y|z)``. Nats, one value a row and draw. Observations and factors outside of the plate over x belong to
      no row; theirs is ``distortion_global``, one value a draw. With beta = 1, the loss at a draw is the sum of all
      these statistics (a site in several plates summed over each), where nothing is scaled or subsampled;
    * ``posterior_predictive``, ``log_likelihood``: draws of y, and ``log p(y|z_s)`` in nats, one value a row;
    * ``prior``, ``prior_predictive``: draws of z and y from the model alone. A site without a proper prior, and what
      depends on its value, is left out with a warning that names it, and the groups where no latent site has one;
    * ``observed_data``, and ``constant_data``: ``index``, the row's position in x, and what is given.

    Dimensions are ``chain``, ``draw``, ``obs_id`` (the rows of x), and a layer's own: ``z1_unit``, or
    ``z1_channel``, ``z1_height``, ``z1_width``. (``sample`` is the name that ArviZ gives to chain and draw
    combined; with rows of that name ``arviz.extract`` and ``arviz.plot_ppc_dist`` fail.) Every variable of
    the posterior has all of them, also the activation and noise of a first layer, which are functions of x and
    the same in every draw: in memory these are views of one draw, and take its memory alone.

    A name stands for one thing: a site ``mu_scale`` beside the noise's scale of a site ``mu``, a site that is called
    like a dimension, and a name that no file can hold (empty, with a slash) are refused after a first look.

    Where an activation is exactly 0, so is z: the draw says nothing of eps, and ``_log_eps`` or ``_eps`` is NaN.

    **What is not observed** (a row without a label under ``labelled``, and whatever a mask takes out of an observed
    site: ``poutine.mask``, or ``.mask()`` of its law, which an image of missing pixels has below ``.to_event()``) is
    missing. It is NaN in ``log_likelihood`` and in ``observed_data``, where whole numbers under a mask are floats for
    that; the coordinate ``y_is_observed`` of the log likelihood says of each value which it is. Of what is observed in
    part the log likelihood is that of the part. ``distortion`` is 0 there, as in the loss, and y is predicted in all
    rows. :func:`elpd` leaves out the rows of which nothing is observed. ``arviz.loo`` does not: its sum is NaN until
    they are left out by hand::

        is_observed = result["log_likelihood"]["y_is_observed"].values
        arviz.loo(result.isel(obs_id=is_observed))

    **What LOO means here.** Draws are from the encoder's p(z|x), which has not seen y. ``arviz.loo`` weighs them
    by ``1/p(y|z)``, as it must for a posterior that has seen y, and so estimates the harmonic mean of p(y|z):
    at most the predictive density ``p(y|x) = E p(y|z)``, and further below it the more the noise changes the
    answer, where large Pareto k say so. Its values rank programs by how well they answer *under their own
    noise*, and favour little noise. The held-out log predictive density itself, on rows that the program was
    not fitted to, is what :func:`elpd` returns, for ``arviz.compare``. Nor does either account for weights that
    were fitted to the same rows.

    **Chains.** Several fitted programs, as of one network and several seeds, are one chain each. They are no chains of
    one sampler: ``r_hat`` of what is drawn says how much the fits differ, and not whether one has converged. What is a
    function of x alone (activation and noise of a first layer, and its rate) is constant within a chain; its ``r_hat``
    divides by a variance of 0, and is infinite, or as large as rounding makes it, however little the fits differ.

    The program runs as it is: batch norm stays in its mode (call ``program.eval()`` first for its running
    statistics; training mode warns), effect handlers around the call apply (:func:`ib_pyro.noise_off`),
    no gradient is kept, and parameters, buffers and devices are left as they are. (Of a model or guide that is a plain
    function, the modules are found through its closure, its globals, and the object that it is bound to.)

    Args:
        program: A :class:`~ib_pyro.Bottleneck`, a module with ``model`` and ``guide``, or any pair ``(model, guide)``,
            called as ``model(x, y)`` or, without y, as ``model(x)``. Automatic guides work. A list of such, all with
            the same sites, is a chain of each.
        x: Inputs, ``[N, ...]``. A tuple ``(x1, x2)`` is several arguments, ``model(x1, x2, y)`` (of a ``Bottleneck``
            the one x); a dict of tensors is one, ``model({...}, y)``. All are cut by rows together; what has no rows
            is bound with ``functools.partial``.
        y: Targets, ``[N, ...]``, or a dict of such. Without them there is nothing observed, and y is predicted.
        kwargs: More arguments by keyword, cut by rows too, such as ``{"labelled": ...}`` of a ``Bottleneck``.
        num_samples: Number S of draws, of each chain.
        sites: Latent and deterministic sites to keep values of; by default all. Rates are of all sites.
        groups: Groups to fill; by default all that can be.
        batch_size: Rows of x that the program sees at once. By default that is chosen for a
            ``Bottleneck``, and all of x for a pair, whose guide may have a parameter for each row. If a pair's guide
            is a function of x, it may be given; sites outside of the plate over x then keep their value from batch
            to batch.
        path: File to stream to, ``*.zarr`` (``pip install 'ib-pyro[zarr]'``) or ``*.nc``
            (``pip install 'ib-pyro[netcdf]'``), with the memory of one batch; the result reads from it. It appears
            once it is complete. More than 1 GB is announced by a warning, and more than the disk holds refused.
        overwrite: Replace what is at ``path``. An older result that still reads from there does not turn into the new
            one: of a Zarr store it raises when it next reads, of a netCDF file that is open it keeps its numbers
            (where the system allows the file to be replaced). ``.load()`` what is to outlive its file.
        seed: Seed of the draws, a whole number, which leaves torch's generators as they were. With the same seed,
            ``num_samples`` and ``batch_size`` a guide gives the same draws of z, whichever ``groups`` and ``sites``
            are asked for and whether y is given: draws of y and of the prior have streams of their own. The
            ``batch_size`` that is chosen by default depends on what is asked for; the attribute of that name says it.
        beta: The weight of the rate that the program was fitted with, per sample and in nats, for the attributes
            ``beta`` and, if ``num_data`` is known, ``beta_paper = beta * num_data``.
        num_data: Number of samples that it was fitted to; by default the program's own.
        constant_data: More values for that group, ``[N, ...]`` each: x itself, nuisances; ``index`` replaces the
            position.
        coords: Labels of dimensions, by name; ``{"chain": seeds}`` names the programs.
        labels: More coordinates of the rows, by name, a value for each row: ``{"digit": y}`` for
            ``.groupby("digit")``.
        fitted_to: The rows that the program was fitted to, as x. Which of x are among them is kept in the coordinate
            ``fitted_to`` of the rows, a truth value each, which goes with them where rows are selected and results
            joined; :func:`elpd` refuses such rows. How many they were at the export is the attribute
            ``num_rows_fitted_to``.
        dims: Names for the dimensions of one sample of a site, by site.
        data_dim: Name of the dimension of rows.
        plate: Name of the plate over the rows of x; by default the one of x's size around the observed sites.

    Returns:
        An ``arviz.InferenceData`` with ArviZ 0.x, an ``xarray.DataTree`` with ArviZ 1.x.

    Raises:
        TypeError: If the program is neither, or x or y holds something else than tensors.
        ValueError: If an argument does not fit (lengths, names of groups or sites, labels, a plate), two things would
            have one name, or sites, shapes or data differ from draw to draw.
        OSError: If the path is taken, has no folder, or the disk is too full.
        ImportError: If a library for the file's format is missing.

    >>> from ib_pyro import Bottleneck
    >>> from ib_pyro.nn import InformationDropout
    >>> program = Bottleneck(InformationDropout.linear(4, 3), torch.nn.Linear(3, 2))
    >>> result = to_arviz(
    ...     program, torch.rand(5, 4), torch.tensor([0, 1, 1, 0, 1]), num_samples=7
    ... )
    >>> dict(result["posterior"]["z1_alpha"].sizes)
    {'chain': 1, 'draw': 7, 'obs_id': 5, 'z1_unit': 3}

    By class, for a plot; and 10,000 images by 100 draws of 64 units to a file (1.1 GB of memory at its peak)::

        alpha = (
            result["posterior"]["z1_alpha"]
            .groupby(result["observed_data"]["y"])
            .mean(["obs_id", "z1_unit"])
        )
        to_arviz(program, test.x, test.y, num_samples=100, sites=["z1"], path="z1.zarr")
    """
    # xarray takes a second to import: not before it is needed.
    from ib_pyro.export.file import announce_size, check_path
    from ib_pyro.export.tree import filled_tree

    if num_data is not None:
        require_count("num_data", num_data)
    programs = resolve_programs(program)
    modules = tuple(module for each in programs for module in each.modules)
    one_argument = any(each.takes_one_argument for each in programs)
    inputs = resolve_inputs(x, y, kwargs, one_argument=one_argument)
    if kwargs is not None:
        programs = [taking_keywords(each) for each in programs]
    wishes = Wishes(num_samples, sites, groups, batch_size, constant_data or {}, dims or {}, data_dim, plate)
    wishes.check(inputs.num_rows)
    seed = None if seed is None else as_seed(seed)
    row_labels = as_row_labels(labels or {}, inputs.num_rows)
    if FITTED_TO in row_labels:
        raise ValueError(
            f"labels: {FITTED_TO!r} says which rows the program was fitted to; pass them as fitted_to="
        )
    facts = _facts(programs)
    if fitted_to is not None:
        fitted = resolve_inputs(fitted_to, None, one_argument=one_argument).args
        row_labels[FITTED_TO] = common_rows(inputs.args[: len(fitted)], fitted)
        facts[NUM_ROWS_FITTED_TO] = int(row_labels[FITTED_TO].sum())
    target = None if path is None else check_path(Path(path), overwrite=overwrite)
    warn_if_batch_norm_trains(modules)
    with torch.no_grad(), buffers_kept(modules), seeded(seed, inputs.device):
        chains, specs = prepare_chains(programs, inputs, wishes, Streams(inputs.device))
        announce_size(sum(spec.held_bytes for spec in specs), target)
        attrs = (
            version_attributes()
            | facts
            | {"num_draws": num_samples, "batch_size": chains.batch_size}
            | ({} if seed is None else {"seed": seed})
            | beta_attributes(beta, num_data or _common_num_data(programs))
        )
        return filled_tree(
            chains,
            specs,
            path=target,
            coords=coords or {},
            row_labels=row_labels,
            data_dim=data_dim,
            attrs=attrs,
        )


def _facts(programs: Sequence[Program]) -> dict[str, Any]:
    """What the result's attributes say of the programs."""
    facts: dict[str, Any] = {"program": ", ".join(dict.fromkeys(program.name for program in programs))}
    if len(programs) > 1:
        facts["num_programs"] = len(programs)
    return facts


def _common_num_data(programs: Sequence[Program]) -> int | None:
    known = {program.num_data for program in programs}
    return known.pop() if len(known) == 1 else None
