"""What the first batch shows of a program and its data, and whether all steps of a fit can be taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import pyro
import torch
from pyro.distributions import MaskedDistribution, constraints
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution

from ib_pyro.batch_norm import has_batch_norm
from ib_pyro.bottleneck import Bottleneck
from ib_pyro.buffers import buffers_kept
from ib_pyro.data import batches
from ib_pyro.elbo import InformationBottleneckELBO
from ib_pyro.elbo.weights import is_zero, weight_of
from ib_pyro.handlers import unwrap
from ib_pyro.likelihoods import require_countable
from ib_pyro.sites import is_observation, sample_sites
from ib_pyro.traces import trace_pair
from ib_pyro.training.batch_arguments import Batch, Placement, batch_of, leaves_of
from ib_pyro.training.data_placement import placed
from ib_pyro.training.programs import model_and_guide
from ib_pyro.training.randomness import seeded
from ib_pyro.training.sources import Source

__all__ = ["FirstLook", "Transform", "check_columns", "check_data", "check_steps", "look_at", "transformed"]

# Targets compared with a support at a time.
_CHUNK = 4096

Transform = Callable[..., Any]
"""From the arguments of a batch to those that a step sees: a tuple of them, or a mapping by name."""

Sites = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class FirstLook:
    """What one evaluation of a program on a batch shows.

    Args:
        guide_sites: The guide's sample sites.
        observed: The observed sites of the model whose value is an argument, and which one, counted over all leaves.
        labels: That of the one thing that is observed, if it is a class label; else None.
        num_data: Size of the set that a batch is a subsample of, as the program's plate says; None if a batch stands
            for itself.
        num_seen: Samples of that set that the plate takes.
    """

    guide_sites: Sites
    observed: dict[str, tuple[Mapping[str, Any], int]]
    labels: int | None
    num_data: int | None
    num_seen: int | None = None


def check_data(
    program: nn.Module,
    data: Any,  # noqa: ANN401 (has tensors x and y)
    *,
    batch_size: int,
    processes: int = 1,
    drop_last: bool = False,
) -> None:
    """Make sure that a program can be fitted to a set, at the price of one small batch.

    Args:
        program: The program; its parameters and statistics stay as they are.
        data: The set, an object with tensors ``x`` and ``y``.
        batch_size: Samples in a step of each process.
        processes: Number of processes that share a step.
        drop_last: Whether a partial batch is left out.

    Raises:
        ValueError: If the set is empty or its parts differ in length, a batch cannot be normalised, the inputs do
            not fit the network, or labels are out of its range.
    """
    columns = data.x, data.y
    check_columns(
        program, columns, batch_size=batch_size * processes, processes=processes, drop_last=drop_last
    )


def check_columns(
    program: nn.Module,
    columns: tuple[Tensor, ...],
    *,
    batch_size: int,
    processes: int = 1,
    drop_last: bool = False,
) -> None:
    """Make sure of the same of a set in memory, given as its tensors, of whose batches each process has a share."""
    size = len(columns[0])
    if len(columns) == 2 and (size == 0 or len(columns[1]) != size):
        raise ValueError(
            f"the set has {size} inputs x and {len(columns[1])} labels y; it needs as many of each"
        )
    rest = 0 if drop_last else size % batch_size
    if has_batch_norm(program) and (batch_size == processes or (rest and rest < 2 * processes)):
        where = f" to one of {processes} processes" if processes > 1 else ""
        way_out = ", or leave it out by drop_last" if rest else ""
        raise ValueError(
            f"batch_size={batch_size // processes} leaves a batch of a single sample out of {size}{where}, which "
            f"batch norm cannot normalise; choose another size{way_out}"
        )
    if isinstance(program, Bottleneck) and program.likelihood == "categorical" and len(columns) == 2:
        _check_labels(program, *columns)


@torch.no_grad()
def _check_labels(program: Bottleneck, x: Tensor, y: Tensor) -> None:
    require_countable("y", y)
    training = program.training
    with seeded(0):
        probabilities = program.eval().predict(placed(x[:2], program), num_samples=1)
    program.train(training)
    classes, low, high = probabilities.shape[-1], int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        raise ValueError(f"labels y go from {low} to {high}; the program has the classes 0 to {classes - 1}")


@torch.no_grad()
def look_at(program: nn.Module, batch: Batch) -> FirstLook:
    """Evaluate a program once, and leave its buffers and the ambient generators as they are.

    Args:
        program: The program; lazy parameters, such as an automatic guide's, are made.
        batch: Some samples, as a step sees them.

    Raises:
        ValueError: If the program learns parameters of Pyro's store, which belong to no module; names them.
    """
    _require_arguments(program, batch)
    with seeded(0), _StoredParameters() as stored, buffers_kept([program]):
        traces = trace_pair(*model_and_guide(program), batch.args, batch.kwargs)
    stored.require_part_of(program)
    observed = {}
    for name, site in sample_sites(traces.model.nodes).items():
        place = _place_of(site, batch) if is_observation(site) else None
        if is_observation(site):
            require_countable(name, site["value"])
        if place is not None:
            observed[name] = (site, place)
    sites = [site for site in sample_sites(traces.model.nodes).values() if is_observation(site)]
    labels = next((place for site, place in observed.values() if len(sites) == 1 and _are_labels(site)), None)
    return FirstLook(sample_sites(traces.guide.nodes), observed, labels, *_subsample(sites))


def _require_arguments(program: nn.Module, batch: Batch) -> None:
    """Raise if model or guide do not take as many arguments as a batch has, or not by these names."""
    for side, function in zip(("model", "guide"), model_and_guide(program), strict=True):
        function = getattr(function, "forward", function)
        try:
            parameters = signature(function)
        except (TypeError, ValueError):
            continue
        try:
            parameters.bind(*batch.args, **batch.kwargs)
        except TypeError as error:
            given = [*(f"argument {place}" for place in range(len(batch.args))), *batch.kwargs]
            raise TypeError(
                f"data: a batch has {', '.join(given)}, which the {side} does not take ({error}); pass what it is "
                "called with"
            ) from error


def check_steps(
    look: FirstLook,
    source: Source,
    placement: Placement,
    *,
    elbo: InformationBottleneckELBO,
    batch_size: int,
    transform: Transform | None = None,
) -> None:
    """Make sure that every step of a fit can be taken, not only the first, as far as the set lies in memory.

    Args:
        look: What the first batch shows.
        source: The set.
        placement: Puts a batch where the program is.
        elbo: The objective.
        batch_size: Samples in a step.
        transform: What a step sees of a batch; targets that it draws are looked at as they come.

    Raises:
        ValueError: If some target is not a value that its likelihood takes, or the last batch has too few samples for
            a total correlation that gamma weights; names the site, the value and the way out.
    """
    if source.whole is None or source.size is None:
        return
    _require_samples(look.guide_sites, elbo, source, batch_size)
    leaves = list(leaves_of(source.whole))
    with seeded(0), torch.no_grad():
        for name, (site, place) in look.observed.items():
            if transform is None:
                targets = (placement(Batch(chunk, {})).args[0] for chunk in _chunks([leaves[place]]))
            else:
                seen = (source.rebuilt(chunk) for chunk in _chunks(leaves))
                targets = (_leaf(placement(transformed(batch, transform)), place) for batch in seen)
            _require_in_support(name, site, targets)


def transformed(batch: Batch, transform: Transform | None) -> Batch:
    """Return what a step sees of a batch."""
    if transform is None:
        return batch
    return batch_of(transform(*batch.args, **batch.kwargs))._replace(share=batch.share)


def _chunks(leaves: list[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    return iter(batches(leaves, _CHUNK, shuffle=False))


def _leaf(batch: Batch, place: int) -> Tensor:
    leaf: Tensor = list(leaves_of(batch))[place]
    return leaf


def _place_of(site: Mapping[str, Any], batch: Batch) -> int | None:
    """Return which argument a site observes, all of it; the last one, if several have its values."""
    found = None
    for place, leaf in enumerate(leaves_of(batch)):
        if leaf is site["value"]:
            return place
        if isinstance(leaf, Tensor) and _observes(site, leaf):
            found = place
    return found


def _observes(site: Mapping[str, Any], y: Tensor) -> bool:
    """Whether a site observes y itself, all of it."""
    value = site["value"]
    if site["mask"] is not None or not isinstance(value, Tensor) or value.shape != y.shape:
        return False
    return bool(((value == y) | (value.isnan() & y.isnan())).all())


def _are_labels(site: Mapping[str, Any]) -> bool:
    law, value = unwrap(site["fn"]), site["value"]
    is_categorical = isinstance(law, Categorical) and bool(law.batch_shape)
    return is_categorical and value.dim() == 1 and not value.is_floating_point()


def _subsample(observed: list[Mapping[str, Any]]) -> tuple[int | None, int | None]:
    """Return the size of a plate of all observations that takes a subsample, and the size of that."""
    frames = [{f.name: f for f in site["cond_indep_stack"] if f.vectorized} for site in observed]
    for name, frame in frames[0].items() if frames else ():
        if all(name in others for others in frames) and frame.full_size not in (None, frame.size):
            return int(frame.full_size), int(frame.size)
    return None, None


class _StoredParameters(Messenger):
    """Note the parameters that programs read from Pyro's store, and put the store back."""

    def __enter__(self) -> _StoredParameters:
        self._found: dict[str, Tensor] = {}
        self._before = set(pyro.get_param_store().keys())
        return super().__enter__()

    def _pyro_post_param(self, msg: dict[str, Any]) -> None:
        if msg["value"] is not None:
            self._found[msg["name"]] = msg["value"]

    def require_part_of(self, program: nn.Module) -> None:
        """Raise if some of them are no parameters of the program's modules."""
        own = {id(parameter) for parameter in program.parameters()}
        foreign = [name for name, value in self._found.items() if id(_unconstrained(value)) not in own]
        if not foreign:
            return
        for name in foreign:
            if name not in self._before and name in pyro.get_param_store():
                del pyro.get_param_store()[name]
        raise ValueError(
            f"parameter {', '.join(map(repr, foreign))}: pyro.param keeps it in Pyro's store, where no module has it "
            "and no optimiser of the program's parameters finds it; make it a torch.nn.Parameter or a "
            "pyro.nn.PyroParam of a module that model or guide call, or train with pyro.infer.SVI"
        )


def _unconstrained(value: Tensor) -> Tensor:
    read = getattr(value, "unconstrained", None)
    found = None if read is None else read()
    return value if found is None else found


def _require_samples(sites: Sites, elbo: InformationBottleneckELBO, source: Source, batch_size: int) -> None:
    """Raise if the smallest batch has too few samples for a total correlation.

    An estimator without ``least_samples``, such as a function of the user's own, is not asked.
    """
    least_samples = getattr(elbo.total_correlation, "least_samples", None)
    size = source.size or 0
    rest = 0 if source.drop_last else size % batch_size
    smallest = rest or min(batch_size, size)
    for name, site in sites.items():
        gamma = weight_of(elbo.gamma, name, 0.0)
        if least_samples is None or site["is_observed"] or is_zero(gamma):
            continue
        units = site["fn"].event_shape.numel()
        if smallest < least_samples(units):
            which = f"the last batch of {size} samples has {smallest}" if rest else f"a batch has {smallest}"
            raise ValueError(
                f"site {name!r}: gamma={float(gamma):g} weights the total correlation of {units} units, which takes "
                f"at least {least_samples(units)} samples, but {which} (batch_size={batch_size}); choose a batch size "
                "that leaves no such rest, leave the rest out by drop_last, or take an estimator that needs fewer, "
                "such as GaussianTotalCorrelation(shrinkage=0.1)"
            )


def _require_in_support(name: str, site: Mapping[str, Any], targets: Iterator[Tensor]) -> None:
    support = _common_support(site["fn"])
    if support is None:
        return
    for y in targets:
        y = y.to(site["value"].dtype)
        wrong = ~support.check(y)
        if wrong.any():
            first = y[tuple(wrong.nonzero()[0])].tolist()
            raise ValueError(
                f"site {name!r}: {int(wrong.sum())} of {wrong.numel()} targets that were looked at are no values of "
                f"{type(unwrap(site['fn'])).__name__}, whose support is {support} (one is {first}); rescale or "
                "relabel y, or choose another likelihood"
            )


def _common_support(law: Distribution) -> constraints.Constraint | None:
    """The support of one target, if that is the same for all samples."""
    while law is not unwrap(law):
        if isinstance(law, MaskedDistribution):
            return None  # what it hides may be anything
        law = law.base_dist  # type: ignore[attr-defined]
    try:
        support = law.support
    except NotImplementedError:
        return None
    if support is None or constraints.is_dependent(support):
        return None
    differs = any(isinstance(value, Tensor) and value.numel() > 1 for value in vars(support).values())
    return None if differs else support
