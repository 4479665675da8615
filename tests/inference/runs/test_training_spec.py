"""What a run's settings become: the optimiser, its schedule and the weight of the rate that the fit is given."""

import pytest

from inference.runs import run as run_module
from inference.studies.paper.plan import Size, cifar_run, paper_run

SIZE = Size(
    sizes=(1 / 96,),
    epochs=20,
    drops=(8, 12),
    lr=0.05,
    nesterov=True,
    batch_size=20,
    train_images=60,
    test_images=20,
)


class Fitted(Exception):
    """Stands for the fit, which does not happen."""


@pytest.fixture
def given(tmp_path, monkeypatch):
    """What `fit` is called with for a run: the program, and its other arguments by name."""

    def capture(spec):
        found = {}

        def fit(program, train, **options):
            found.update(program=program, train=train, **options)
            raise Fitted

        monkeypatch.setattr(run_module, "fit", fit)
        with pytest.raises(Fitted):
            run_module.run(spec.but(stand_in=True), tmp_path / spec.name)
        return found

    return capture


def cifar(activation="softplus", **settings):
    return cifar_run(SIZE, fraction=1 / 96, activation=activation, **{"beta_paper": 6.0, **settings})


def names_by_group(found):
    names = {parameter: name for name, parameter in found["program"].named_parameters()}
    return [{names[p] for p in group["params"]} for group in found["optimizer"].param_groups]


def test_weights_decay_by_a_thousandth_under_nesterovs_momentum(given):
    found = given(cifar())
    group = found["optimizer"].param_groups[0]
    settings = {name: group[name] for name in ("lr", "momentum", "nesterov", "weight_decay")}
    assert settings == {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}
    plain = cifar_run(SIZE, fraction=1 / 96, beta_paper=6.0, nesterov=False)
    assert given(plain)["optimizer"].param_groups[0]["nesterov"] is False


def test_every_parameter_has_one_group_and_a_learned_prior_another_that_does_not_decay(given):
    found = given(cifar())
    weights, priors = names_by_group(found)
    learned = {f"encoder.{site}.prior_{name}" for site in ("z1", "z2") for name in ("loc", "log_scale")}
    assert priors == learned
    assert weights == {name for name, _ in found["program"].named_parameters()} - learned
    group = found["optimizer"].param_groups[1]
    assert group["weight_decay"] == 0
    assert group["lr"] < found["optimizer"].param_groups[0]["lr"]


def test_a_fixed_prior_needs_no_group_of_its_own(given):
    found = given(cifar("relu"))
    (names,) = names_by_group(found)
    assert names == {name for name, _ in found["program"].named_parameters()}


@pytest.mark.parametrize("beta_paper", [6.0, 600.0])
def test_a_step_of_a_learned_prior_stays_below_the_reach_of_its_curvature(given, beta_paper):
    """Gradient descent converges on a parabola of curvature c without overshooting for a rate up to 1 / c."""
    found = given(
        paper_run(
            SIZE,
            model="all-cnn-96",
            data="cluttered-mnist",
            fraction=1 / 32,
            activation="softplus",
            beta_paper=beta_paper,
        )
    )
    # A filter of 48x48 units is the largest noisy layer, the ten times fewer of the last one are the smallest.
    curvature = beta_paper / 60 * 48 * 48
    slow = found["optimizer"].param_groups[1]["lr"]
    assert 0.1 / curvature < slow < 1 / curvature


def test_a_small_beta_does_not_slow_a_learned_prior(given):
    found = given(cifar(beta_paper=1e-3))
    assert [group["lr"] for group in found["optimizer"].param_groups] == [0.05, 0.05]


def test_every_learning_rate_drops_to_a_tenth_after_each_of_the_runs_epochs(given):
    found = given(cifar())
    optimizer, scheduler = found["optimizer"], found["scheduler"]
    start = [group["lr"] for group in optimizer.param_groups]
    factors = []
    for _ in range(20):
        found_now = [group["lr"] for group in optimizer.param_groups]
        (factor,) = {round(now / first, 9) for now, first in zip(found_now, start, strict=True)}
        factors.append(factor)
        optimizer.step()
        scheduler.step()
    assert factors == [1.0] * 8 + [0.1] * 4 + [0.01] * 8


def test_length_and_batches_are_the_sizes(given):
    found = given(cifar())
    assert (found["epochs"], found["batch_size"], len(found["train"])) == (20, 20, 60)


@pytest.mark.parametrize("images", [60, 30])
def test_the_papers_beta_is_divided_by_the_training_images(given, images):
    run = cifar(limit=images)
    assert given(run)["elbo"].beta == pytest.approx(6.0 / images)


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_the_beta_of_an_autoencoder_is_that_of_an_image(given, beta):
    options = {"model": "vae", "data": "mnist", "latent": "gaussian", "optimizer": "adam", "lr": 1e-3}
    found = given(paper_run(SIZE, beta=beta, nesterov=False, **options))
    assert found["elbo"].beta == beta
    images, target = found["transform"](found["train"].x, found["train"].y)
    assert target is images
    assert set(images.unique().tolist()) == {0.0, 1.0}
