"""The numbers of small runs, as they were before there was one engine: of the command line, and of a figure's kind.

They were recorded on another machine; what may differ between machines is in the last digits.
"""

import pytest

from inference import RunSpec, run

COMMON = {"accelerator": "cpu", "threads": 1}
OF_A_FIGURE = {
    "stand_in": True,
    "data": "mnist",
    "hidden": 8,
    "limit": 200,
    "test_limit": 100,
    "validation_limit": 0,
    "lr": 0.07,
    "steady_priors": True,
}
EXPECTED = {
    "cosine": (
        {
            "beta_paper": 3.0,
            "epochs": 4,
            "beta_schedule": "cosine",
            "beta_warm_up": 3.0,
            "beta_start": 0.1,
            "lr_drops": (2, 3),
            "lr_factor": 0.5,
            "hidden": 32,
        },
        {"distortion": 0.22634748, "distortion_deterministic": 0.14922038, "rate": 33.167785},
    ),
    "cyclical, by site": (
        {
            "beta": 0.01,
            "epochs": 4,
            "beta_schedule": "cyclical",
            "beta_period": 2.0,
            "beta_factors": {"z1": 0.5, "z3": 2.0},
        },
        {"distortion": 0.16132601, "distortion_deterministic": 0.13568405, "rate": 53.653372},
    ),
    "capacity": (
        {"beta": 0.1, "epochs": 3, "capacity": {"z1": 20.0, "z3": 5.0}, "capacity_warm_up": 2.0},
        {"distortion": 0.28457684, "distortion_deterministic": 0.18097195, "rate": 13.422737},
    ),
    "free nats and gamma": (
        # One epoch: later the last digit of a total correlation, which is in float64 since, grows to the second.
        {"beta": 0.1, "epochs": 1, "free_nats": 3.0, "gamma": {"z1": 0.1}},
        {"distortion": 1.7152222, "distortion_deterministic": 0.72545030, "rate": 36.911729},
    ),
    "minibatch correlation": (
        # With ReLU the estimate jumps where units go on and off, and the last digit of a step moves the whole fit.
        {
            **{"beta": 0.01, "epochs": 3, "gamma": 0.1, "total_correlation": "minibatch-weighted"},
            **{"activation": "softplus", "lr": 0.003},
        },
        {"distortion": 2.1307683, "distortion_deterministic": 1.7643653, "rate": 105.414827},
    ),
    "binary": (
        {
            "dropout": "binary",
            "drop_prob": 0.2,
            "epochs": 3,
            "schedule": "authors-code",
            "nesterov": True,
            "weight_decay": 0.001,
        },
        {"distortion": 0.7495046, "distortion_deterministic": 0.43247753},
    ),
    "constant": (
        {"dropout": "constant", "alpha": 0.4, "epochs": 3, "batch_norm": False, "holdout": 0},
        {"distortion": 1.9939301, "distortion_deterministic": 2.0308119},
    ),
    "gaussian": (
        {"dropout": "gaussian", "beta_paper": 1.0, "epochs": 2, "seed": 3, "limit": 500},
        {"distortion": 2.2423475, "distortion_deterministic": 1.5142815, "rate": 71.021644},
    ),
    "adam": (
        {"dropout": "none", "epochs": 2, "optimizer": "adam", "lr": 0.002},
        {"distortion": 1.736124, "distortion_deterministic": 1.0215774},
    ),
    "autoencoder": (
        {"model": "vae", "latent": "gaussian", "epochs": 2, "beta": 0.5, "k": 2, "num_importance_samples": 8},
        {"distortion": 27.798779, "rate": 2.7193556, "test_importance_weighted": -28.837873},
    ),
    "figure 3a, binary": (
        {
            **OF_A_FIGURE,
            **{"dropout": "binary", "drop_prob": 0.1, "epochs": 2, "lr_drops": (1,), "num_samples": 2},
        },
        {"distortion": 2.2697099, "distortion_deterministic": 2.1516637},
    ),
    "figure 3a, constant": (
        {
            **OF_A_FIGURE,
            **{"dropout": "constant", "alpha": 0.4, "epochs": 2, "lr_drops": (1,), "num_samples": 2},
        },
        {"distortion": 2.2520387, "distortion_deterministic": 2.1361743},
    ),
    "figure 3a, information": (
        {**OF_A_FIGURE, **{"beta_paper": 1.0, "epochs": 2, "lr_drops": (1,), "num_samples": 2}},
        {"distortion": 2.2888815, "distortion_deterministic": 2.1945885, "rate": 9.8867633},
    ),
    "figure 3a, none": (
        {**OF_A_FIGURE, **{"dropout": "none", "epochs": 2, "lr_drops": (1,), "num_samples": 2}},
        {"distortion": 2.2605725, "distortion_deterministic": 2.1372766},
    ),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_numbers_are_those_of_the_engine_that_was(name, tmp_path):
    settings, expected = EXPECTED[name]
    result = run(RunSpec.of(**COMMON, **settings), tmp_path / "run", progress=False)
    found = {column: result[column] for column in expected}
    assert found == pytest.approx(expected, rel=3e-3)
