"""Networks as programs: targets and inputs that do not fit, decoders and encoders that are put together wrongly."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from pyro import distributions as dist
from torch import Tensor, nn
from torch.nn import functional as F

from ib_pyro import Bottleneck, InformationBottleneckELBO
from ib_pyro.nn import InformationDropout
from inference.studies.attack.mistakes.mistake import Draw, Wrong, asked, mistake
from inference.studies.attack.mistakes.pairs import DRAWS, sampled_loss

__all__ = ["INPUTS", "classifier", "told"]

CLASSES, INPUTS = 3, 4


def classifier(draw: Draw, **options: Any) -> Bottleneck:
    """A right program of inputs ``[batch, INPUTS]`` and three classes."""
    activation, prior = draw.choice(("relu", "log-uniform"), ("softplus", "log-normal"))
    layer = InformationDropout.linear(INPUTS, draw.dims, activation=activation, prior=prior)
    return Bottleneck(layer, nn.Linear(draw.dims, CLASSES), **options)


def told(draw: Draw, program: Bottleneck, x: Any, y: Any, *names: str, **kwargs: Any) -> Wrong:  # noqa: ANN401
    """A question about a program, that is refused."""
    elbo = InformationBottleneckELBO(draw.choice(1.0, 0.1, 0.0))
    captured = [lambda: elbo.capture(program.model, program.guide)(x, y, **kwargs)]
    ways = [asked(draw, elbo, program.model, program.guide, (x, y), kwargs)] * 5 + captured
    return Wrong(draw.choice(*ways), (*names, "argument"))


def inputs(draw: Draw) -> Tensor:
    """Inputs of a classifier, in its type."""
    return draw.normal(draw.batch, INPUTS).float()


@mistake
def labels_of_another_shape(draw: Draw) -> Wrong:
    """In a column, one-hot, too few, too many or one for all."""
    y = draw.labels(draw.batch, CLASSES)
    wrong = draw.choice(
        y[:, None], F.one_hot(y, CLASSES), y[:-1], torch.cat([y, y[:1]]), y[:1], y[0], y[None]
    )
    return told(draw, classifier(draw), inputs(draw), draw.choice(wrong, wrong.float()), "y")


@mistake
def labels_that_are_no_classes(draw: Draw) -> Wrong:
    """Beyond the classes, below them, or what other libraries leave out."""
    y = draw.labels(draw.batch, CLASSES)
    y[draw.random.randrange(draw.batch)] = draw.choice(CLASSES, -1, -100, 255)
    return told(draw, classifier(draw), inputs(draw), y, "y")


@mistake
def labels_of_another_type(draw: Draw) -> Wrong:
    """Fractions and truth values are refused, other whole numbers are right."""
    y, x = draw.labels(draw.batch, CLASSES), inputs(draw)
    dtype = draw.choice(torch.float32, torch.float64, torch.bool, torch.int32, torch.uint8, torch.int16)
    program = classifier(draw)
    elbo = InformationBottleneckELBO(0.0)

    def by_hand() -> Tensor:
        torch.manual_seed(0)
        return F.cross_entropy(program(x), y, reduction="sum")

    def answer() -> Tensor:
        torch.manual_seed(0)
        return elbo.differentiable_loss(program.model, program.guide, x, y.to(dtype))

    return Wrong(answer, ("y",), truth=by_hand)


@mistake
def targets_that_are_no_tensor(draw: Draw) -> Wrong:
    """Lists, arrays, mappings and words."""
    y = draw.labels(draw.batch, CLASSES)
    form = draw.choice(y.tolist(), y.numpy(), {"y ": y}, {"label": y}, "labels", np.float64(1.0), 1)
    return told(draw, classifier(draw), inputs(draw), form, "y")


@mistake
def inputs_that_are_no_tensor(draw: Draw) -> Wrong:
    """Lists, arrays, loaders, words, and nothing."""
    x = inputs(draw)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x))
    form = draw.choice(x.tolist(), x.numpy(), [x], loader, "x", None, 3.0, set(), torch.tensor(1.0))
    return told(draw, classifier(draw), form, draw.labels(draw.batch, CLASSES), "x")


@mistake
def inputs_that_are_not_finite(draw: Draw) -> Wrong:
    """One value is NaN or infinite."""
    x, y, program = inputs(draw), draw.labels(draw.batch, CLASSES), classifier(draw)
    value = draw.choice(float("nan"), float("inf"), float("-inf"))
    x[draw.random.randrange(draw.batch), draw.random.randrange(INPUTS)] = value
    if value != value:
        return told(draw, program, x, y, "x", "z1", "y")
    # A ReLU may make a number of it.
    ask = asked(draw, InformationBottleneckELBO(), program.model, program.guide, (x, y))
    return Wrong(
        ask,
        ("x", "z1", "y"),
        truth=lambda: sampled_loss(program.model, program.guide, 1.0, (x, y)),
        draws=DRAWS,
    )


@mistake
def inputs_of_another_type(draw: Draw) -> Wrong:
    """Double precision, whole numbers or truth values for a program in single precision."""
    x = draw.choice(inputs(draw).double(), (10 * inputs(draw)).long(), inputs(draw) > 0, inputs(draw).half())
    return told(draw, classifier(draw), x, draw.labels(draw.batch, CLASSES), "x")


@mistake
def inputs_without_samples(draw: Draw) -> Wrong:
    """An empty batch."""
    return told(draw, classifier(draw), inputs(draw)[:0], draw.labels(0, CLASSES), "batch")


@mistake
def binary_targets_that_are_not(draw: Draw) -> Wrong:
    """Grey values, NaN, the labels of classes, another shape."""
    program = classifier(draw, likelihood="bernoulli")
    y = (draw.normal(draw.batch, CLASSES) > 0).float()
    grey = y.clone()
    grey[0, 0] = draw.choice(0.5, -1.0, 2.0, 255.0, float("nan"))
    form = draw.choice(grey, y[:, :2], y[:, 0], y[..., None], y[:-1], y.long() * 2)
    return told(draw, program, inputs(draw), form, "y")


@mistake
def real_targets_that_are_not(draw: Draw) -> Wrong:
    """NaN, infinity, another shape."""
    program = classifier(draw, likelihood="normal")
    y = draw.normal(draw.batch, CLASSES).float()
    lost = y.clone()
    lost[-1, -1] = draw.choice(float("nan"), float("inf"))
    form = draw.choice(lost, y[:, :1], y[:, 0], y.T.contiguous(), y[:1], y[None])
    same = tuple(form.shape) == (draw.batch, CLASSES) and bool(form.isfinite().all())
    return told(draw, program, inputs(draw), lost if same else form, "y")


@mistake
def a_likelihood_that_is_none(draw: Draw) -> Wrong:
    """Words with a mistake in them, laws of another shape, numbers for laws."""
    program, x = classifier(draw), inputs(draw)
    wrong: list[Any] = ["catgorical", "Normal", "", {}, {"digit": "catgorical"}]
    wrong += [lambda o: dist.Normal(o, 1.0), lambda o: dist.Categorical(logits=o.mean(0))]
    wrong += [
        lambda o: dist.Bernoulli(probs=o),
        lambda o: dist.Poisson(o),
        lambda o: dist.Normal(o, o).to_event(1),
    ]
    form = draw.choice(*wrong)

    def answer() -> Tensor:
        program.likelihood = form
        elbo = InformationBottleneckELBO()
        return elbo.terms(program.model, program.guide, x, draw.labels(draw.batch, CLASSES)).loss

    return Wrong(answer, ("y", "likelihood", "digit"))


@mistake
def a_size_of_the_set_that_is_none(draw: Draw) -> Wrong:
    """Smaller than the batch, nothing, or negative."""
    program = classifier(draw, num_data=draw.choice(draw.batch - 1, 0, -5))
    return told(draw, program, inputs(draw), draw.labels(draw.batch, CLASSES), "num_data")


@mistake
def class_weights_that_do_not_fit(draw: Draw) -> Wrong:
    """Too few, too many, negative, NaN, or for what is no class."""
    number = draw.choice(CLASSES - 1, CLASSES + 1, CLASSES)
    weights = draw.positive(number).float()
    likelihood = "categorical"
    if number == CLASSES:
        weights[-1] = draw.choice(-1.0, float("nan"), float("inf"), 1.0)
        likelihood = "bernoulli" if weights[-1] == 1 else likelihood
    program = classifier(draw, class_weights=weights, likelihood=likelihood)
    y = draw.labels(draw.batch, CLASSES)
    form = y if likelihood == "categorical" else F.one_hot(y, CLASSES).float()
    return told(draw, program, inputs(draw), form, "class_weights")


@mistake
def labels_that_are_missing_otherwise(draw: Draw) -> Wrong:
    """A mask of what is labelled that is of another type or shape."""
    mask = torch.ones(draw.batch, dtype=torch.bool)
    form = draw.choice(mask.float(), mask[:-1], mask[:, None], mask.long(), torch.tensor(True))
    y = draw.labels(draw.batch, CLASSES)
    return told(draw, classifier(draw), inputs(draw), y, "labelled", "y", labelled=form)


@mistake
def an_encoder_put_together_wrongly(draw: Draw) -> Wrong:
    """A layer called twice, in the decoder, never called, around which x finds a way, or two of one name."""
    x, y, dims = inputs(draw), draw.labels(draw.batch, CLASSES), draw.dims

    def layer(name: str | None = None, inputs: int = INPUTS) -> InformationDropout:
        return InformationDropout.linear(inputs, dims, name=name)

    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.z = layer()

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.z(x), x], -1)

    class Uncalled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.z, self.other = layer(), layer()

        def forward(self, x: Tensor) -> Any:  # noqa: ANN401
            return self.z(x)

    class Twice(Uncalled):
        def forward(self, x: Tensor) -> Any:  # noqa: ANN401
            return self.z(x) + self.z(2 * x)

    makes: list[Callable[[], Bottleneck]] = [
        lambda: Bottleneck(Around(), nn.Linear(dims + INPUTS, CLASSES)),
        lambda: Bottleneck(Uncalled(), nn.Linear(dims, CLASSES)),
        lambda: Bottleneck(Twice(), nn.Linear(dims, CLASSES)),
        lambda: Bottleneck(layer(), nn.Sequential(layer("u", dims), nn.Linear(dims, CLASSES))),
        lambda: Bottleneck(nn.Sequential(layer("u"), layer("u", dims)), nn.Linear(dims, CLASSES)),
        lambda: Bottleneck(nn.Sequential(layer("y")), nn.Linear(dims, CLASSES)),
    ]
    make, elbo = draw.choice(*makes), InformationBottleneckELBO()

    def answer() -> Tensor:
        program = make()
        return elbo.terms(program.model, program.guide, x, y).loss

    return Wrong(answer, ("z", "z1", "z2", "u", "y", "other", "encoder", "decoder"))


@mistake
def heads_that_do_not_fit(draw: Draw) -> Wrong:
    """Targets or outputs for heads of other names, or one for several."""
    y = draw.labels(draw.batch, CLASSES)
    layer = InformationDropout.linear(INPUTS, draw.dims)

    class Heads(nn.Module):
        def __init__(self, *names: str) -> None:
            super().__init__()
            self.parts = nn.ModuleDict(OrderedDict((name, nn.Linear(draw.dims, CLASSES)) for name in names))

        def forward(self, z: Tensor) -> dict[str, Tensor]:
            return {name: part(z) for name, part in self.parts.items()}

    likelihoods = {"digit": "categorical", "size": "normal"}
    outputs = draw.choice(("digit", "size"), ("digit",), ("digt", "size"))
    program = Bottleneck(layer, Heads(*outputs), likelihoods)
    right = {"digit": y, "size": draw.normal(draw.batch, CLASSES).float()}
    forms = [y, {**right, "sise": y}, {"digit": y}, {"digit": right["size"], "size": right["size"]}]
    target = right if outputs != ("digit", "size") else draw.choice(*forms)
    return told(draw, program, inputs(draw), target, "digit", "size", "sise", "y")
