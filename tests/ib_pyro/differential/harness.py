"""Compare the ELBO with ``Trace_ELBO`` on one program: its value and its gradient, in expectation or draw by draw."""

import re
from collections.abc import Iterator
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import ELBO, Trace_ELBO
from torch import Tensor

from ib_pyro import InformationBottleneckELBO
from tests.ib_pyro.differential.case import RIGHT, Case, Program

__all__ = ["ERRORS", "MODES", "Wrong", "expected", "judge", "verdict"]

ERRORS = 5.0
"""Standard errors by which two expectations may differ."""
DIGITS = 1e-9
MODES = ("error", "monte-carlo", "sampled")
REFUSALS = (ValueError, NotImplementedError)


class Wrong(AssertionError):
    """A number that is not the one ``Trace_ELBO`` means, with nothing said."""


def expected(case: Case, mode: str) -> str:
    """The verdict that the table states: ``RIGHT``, or the regular expression of the refusal."""
    return case.error if mode == "error" else case.sampled


def verdict(case: Case, mode: str, *, draws: int = 40, particles: int = 100) -> str:
    """Return ``RIGHT`` or the message of a refusal.

    Args:
        case: A line of the table.
        mode: ``"error"`` and ``"monte-carlo"`` are choices of ``on_no_closed_form``; ``"sampled"`` forces the rates of
            all latent sites to be sampled, which must be ``Trace_ELBO`` draw by draw.
        draws: Number of independent estimates, from whose spread the standard errors come.
        particles: Number of particles in each, where the program vectorises.

    Raises:
        Wrong: If value or gradient differ by more than ``ERRORS`` standard errors, or in the digits where the draws must
            agree.
    """
    torch.manual_seed(0)
    program = case.program()
    try:
        ours = InformationBottleneckELBO(**_options(mode, program))
        evaluate(ours, program, seed=0)
    except REFUSALS as error:
        return str(error)
    same = _agree_draw_by_draw(ours, program)
    if mode == "sampled" and not same:
        raise Wrong("sampled rates are not those of Trace_ELBO draw by draw")
    if not same:
        _require_same_expectation(case, program, mode, draws, particles)
    if case.exact is not None:
        _require_exact(case, program, mode, draws, particles)
    return RIGHT


def judge(case: Case, mode: str, **sizes: int) -> str:
    """Return ``right``, ``refused`` or ``wrong: ...``, whatever happens: for counting."""
    try:
        got = verdict(case, mode, **sizes)
    except Exception as error:
        return f"wrong: {type(error).__name__}: {error}"
    if got == RIGHT == expected(case, mode):
        return RIGHT
    if RIGHT not in (got, expected(case, mode)) and re.search(expected(case, mode), got):
        return "refused"
    return f"wrong: {got!r} where {expected(case, mode)!r} is expected"


def evaluate(elbo: ELBO, program: Program, seed: int) -> Tensor:
    """The loss and its gradient under the noise of a seed, as one vector."""
    pyro.set_rng_seed(seed)
    loss = elbo.differentiable_loss(program.model, program.guide, *program.args)
    parameters = program.parameters()
    gradients: tuple[Tensor | None, ...] = (None,) * len(parameters)
    if parameters and loss.requires_grad:
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    parts = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]
    return torch.cat([loss.detach().reshape(1), *(part.reshape(-1) for part in parts)])


def _options(mode: str, program: Program) -> dict[str, Any]:
    if mode != "sampled":
        return {"on_no_closed_form": mode}
    return {"on_no_closed_form": "monte-carlo", "sampled_rates": tuple(_latents(program))}


def _latents(program: Program) -> Iterator[str]:
    """The latent sites of the model, without the subsamples of plates."""
    with poutine.block(), torch.random.fork_rng():
        nodes = poutine.trace(program.model).get_trace(*program.args).nodes
    for name, site in nodes.items():
        if site["type"] == "sample" and not site["is_observed"] and not _is_subsample(site):
            yield name


def _is_subsample(site: dict[str, Any]) -> bool:
    return type(site["fn"]).__name__ == "_Subsample"


def _agree_draw_by_draw(ours: ELBO, program: Program) -> bool:
    return all(
        torch.allclose(
            evaluate(ours, program, seed), evaluate(Trace_ELBO(), program, seed), rtol=DIGITS, atol=DIGITS
        )
        for seed in range(3)
    )


def _estimates(case: Case, mode: str, program: Program, particles: int) -> tuple[ELBO, ELBO]:
    options: dict[str, Any] = {}
    if case.nesting is not None:
        options = {
            "num_particles": particles,
            "vectorize_particles": True,
            "max_plate_nesting": case.nesting,
        }
    return InformationBottleneckELBO(**_options(mode, program), **options), Trace_ELBO(**options)


def _require_same_expectation(case: Case, program: Program, mode: str, draws: int, particles: int) -> None:
    """Both see the same noise, so that what they share cancels and the spread is that of the difference."""
    ours, pyros = _estimates(case, mode, program, particles)
    number = draws if case.nesting is not None else 2 * draws
    differences = torch.stack(
        [evaluate(ours, program, seed) - evaluate(pyros, program, seed) for seed in range(1, number + 1)]
    )
    _require_zero_mean(differences, "Trace_ELBO")


def _require_exact(case: Case, program: Program, mode: str, draws: int, particles: int) -> None:
    ours, _ = _estimates(case, mode, program, particles)
    number = draws if case.nesting is not None else 2 * draws
    losses = torch.stack([evaluate(ours, program, seed)[:1] for seed in range(1, number + 1)])
    _require_zero_mean(losses - case.exact, "the closed form")


def _require_zero_mean(differences: Tensor, reference: str) -> None:
    mean = differences.mean(0)
    error = differences.std(0) / len(differences) ** 0.5
    off = mean.abs() > ERRORS * error + DIGITS
    if bool(off.any()) or not bool(mean.isfinite().all()):
        worst = int((mean.abs() / (error + DIGITS)).nan_to_num(torch.inf).argmax())
        what = "the loss" if worst == 0 else f"entry {worst - 1} of the gradient"
        raise Wrong(
            f"{what} differs from {reference} by {mean[worst]:.4g}, standard error {error[worst]:.2g}, in expectation"
        )
