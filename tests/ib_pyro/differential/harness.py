"""Compare the ELBO with ``Trace_ELBO`` on one program: its value and its gradient, in expectation or draw by draw."""

import re
import warnings
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import ELBO, Trace_ELBO
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from ib_pyro import InformationBottleneckELBO
from tests.ib_pyro.differential.case import RIGHT, Case, Program

__all__ = ["ERRORS", "MODES", "Refused", "Wrong", "expected", "judge", "verdicts"]

ERRORS = 5.0
"""Standard errors by which two expectations may differ."""
DIGITS = 1e-9
MODES = ("error", "monte-carlo", "sampled")
REFUSALS = (ValueError, NotImplementedError)


class Wrong(AssertionError):
    """A number that is not the one ``Trace_ELBO`` means, with nothing said."""


class Refused(Exception):
    """The ELBO said that it will not answer."""


def expected(case: Case, mode: str) -> str:
    """The verdict that the table states: ``RIGHT``, or the regular expression of the refusal."""
    return {"error": case.error, "monte-carlo": case.sampled, "sampled": case.forced or case.sampled}[mode]


def verdicts(case: Case, *, draws: int = 30, particles: int = 130) -> dict[str, str]:
    """Return for each mode ``RIGHT``, the message of a refusal, or ``wrong: ...`` with what happened.

    ``"error"`` and ``"monte-carlo"`` are choices of ``on_no_closed_form``; ``"sampled"`` forces the rates of all
    latent sites to be sampled, which must be ``Trace_ELBO`` draw by draw. A number is wrong if value or gradient
    differ by more than ``ERRORS`` standard errors in expectation, or in their digits where the draws must agree.

    Args:
        case: A line of the table.
        draws: Number of independent estimates, from whose spread the standard errors come.
        particles: Number of particles in each, where the program vectorises.
    """
    torch.manual_seed(0)
    program = case.program()
    found: dict[str, str] = {}
    for mode in MODES:
        try:
            options = _options(mode, program)
            if not (found.get("error") == RIGHT and _is_that_of_error(options, case, program)):
                _compare(case, program, options, draws, particles)
            found[mode] = RIGHT
        except Refused as refusal:
            found[mode] = str(refusal)
        except Exception as error:
            found[mode] = f"wrong: {type(error).__name__}: {error}"
    return found


def judge(case: Case, **sizes: int) -> dict[str, str]:
    """Return for each mode ``right``, ``refused`` as the table states, or ``wrong: ...``."""
    return {mode: _judged(got, expected(case, mode)) for mode, got in verdicts(case, **sizes).items()}


def _judged(got: str, wanted: str) -> str:
    if got.startswith("wrong"):
        return got
    if got == RIGHT == wanted:
        return RIGHT
    if RIGHT not in (got, wanted) and re.search(wanted, got):
        return "refused"
    return f"wrong: {got!r} where {wanted!r} is expected"


def _is_that_of_error(options: dict[str, Any], case: Case, program: Program) -> bool:
    """Whether nothing of the program lacks a closed form, so that the verdict is that of the first mode."""
    if options.get("sampled_rates"):
        return False
    pair = Pair(program, InformationBottleneckELBO(), InformationBottleneckELBO(**options), case.gradient)
    return all(torch.equal(*pair.evaluate(seed)) for seed in range(3))


def _compare(case: Case, program: Program, options: dict[str, Any], draws: int, particles: int) -> None:
    forced = bool(options.get("sampled_rates"))
    pair = Pair(program, InformationBottleneckELBO(**options), Trace_ELBO(), case.gradient)
    same = all(torch.allclose(*pair.evaluate(seed), rtol=DIGITS, atol=DIGITS) for seed in range(3))
    if forced and case.gradient and not same:
        raise Wrong("sampled rates are not those of Trace_ELBO draw by draw")
    if same and case.exact is None:
        return
    particles_options: dict[str, Any] = {}
    if case.nesting is not None:
        particles_options |= {"num_particles": particles, "max_plate_nesting": case.nesting}
        particles_options |= {"vectorize_particles": True}
    ours = InformationBottleneckELBO(**options, **particles_options)
    pair = Pair(program, ours, Trace_ELBO(**particles_options), case.gradient)
    number = draws if case.nesting is not None else 2 * draws
    values = [pair.evaluate(seed) for seed in range(1, number + 1)]
    if not same:
        # Under the same noise what both share cancels: the spread is that of the difference.
        _require_zero_mean(torch.stack([ours - pyros for ours, pyros in values]), "Trace_ELBO")
    if case.exact is not None:
        _require_zero_mean(torch.stack([ours[:1] for ours, _ in values]) - case.exact, "the closed form")


@dataclass(frozen=True)
class Pair:
    """Our ELBO and Pyro's on one program."""

    program: Program
    ours: ELBO
    pyros: ELBO
    gradient: bool = True

    def evaluate(self, seed: int) -> tuple[Tensor, Tensor]:
        """The loss of each and its gradient under the noise of a seed, as one vector.

        Raises:
            Refused: If ours refuses.
        """
        try:
            ours = self._evaluate(self.ours, seed)
        except REFUSALS as error:
            raise Refused(str(error)) from error
        return ours, self._evaluate(self.pyros, seed)

    def _evaluate(self, elbo: ELBO, seed: int) -> Tensor:
        pyro.set_rng_seed(seed)
        model, guide, args = self.program.model, self.program.guide, self.program.args
        with warnings.catch_warnings():
            # Pyro's own about sites of the guide alone; ours refuses those that it should.
            warnings.filterwarnings("ignore", message="Found (non-)?auxiliary vars")
            loss = elbo.differentiable_loss(model, guide, *args)
        parameters = self.program.parameters() if self.gradient else []
        gradients: tuple[Tensor | None, ...] = (None,) * len(parameters)
        if parameters and loss.requires_grad:
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        parts = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]
        return torch.cat([loss.detach().reshape(1), *(part.reshape(-1) for part in parts)])


def _options(mode: str, program: Program) -> dict[str, Any]:
    if mode != "sampled":
        return {"on_no_closed_form": mode}
    return {"on_no_closed_form": "monte-carlo", "sampled_rates": tuple(_latents(program))}


def _latents(program: Program) -> list[str]:
    """The latent sites that model and guide share; none where Pyro itself cannot run the two."""
    with poutine.block(), torch.random.fork_rng():
        guide = poutine.unwrap(program.guide)
        try:
            if isinstance(guide, Messenger):
                program.guide(*program.args)
                model_trace, guide_trace = guide.get_traces()
            else:
                guide_trace = poutine.trace(program.guide).get_trace(*program.args)
                replayed = poutine.replay(program.model, trace=guide_trace)
                model_trace = poutine.trace(replayed).get_trace(*program.args)
        except (RuntimeError, ValueError):
            return []
    return [
        name
        for name, site in model_trace.nodes.items()
        if name in guide_trace.nodes and site["type"] == "sample" and not site_is_subsample(site)
    ]


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
