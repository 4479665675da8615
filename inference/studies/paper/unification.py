"""The paper's main claim, that one Lagrangian has known methods as its cases: identities, and their tests."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["IDENTITIES", "Identity", "summary_row", "unification_section"]

_CLAIM = "One Lagrangian has dropout, variational dropout, the VAE, the beta-VAE and ICA as its cases."
_VERDICT = "identities, held by tests"


@dataclass(frozen=True)
class Identity:
    """A case of the Lagrangian.

    Args:
        case: The method.
        settings: Noise, prior and weights under which it is the Lagrangian.
        equals: What the Lagrangian then is.
        file: The file of the tests.
        tests: Their names.
    """

    case: str
    settings: str
    equals: str
    file: str
    tests: tuple[str, ...]


_CLASSIFIERS = "tests/models/test_classification_bottlenecks.py"
_VAES = "tests/models/test_vae.py"
_DISENTANGLING = "tests/models/test_disentangling_vaes.py"
IDENTITIES = (
    Identity(
        "cross-entropy",
        "any noise; β = 0",
        "the cross-entropy of the noisy network",
        _CLASSIFIERS,
        ("test_beta_zero_is_the_cross_entropy_of_the_noisy_network",),
    ),
    Identity(
        "information dropout, ReLU",
        "learned log-normal noise; log-uniform prior with a mass at zero",
        "cross-entropy + β Σ log(α_max / α) over units that are on, - log q0 for each that is off (Proposition 2)",
        _CLASSIFIERS,
        (
            "test_relu_bottleneck_is_cross_entropy_plus_the_log_noise",
            "test_ignoring_the_atom_charges_units_that_are_off_too",
        ),
    ),
    Identity(
        "information dropout, softplus",
        "learned log-normal noise; log-normal prior, learned",
        "cross-entropy + β times the divergence of two normals of log z (Proposition 3, equation 6 corrected)",
        _CLASSIFIERS,
        ("test_softplus_bottleneck_is_cross_entropy_plus_the_corrected_equation_6",),
    ),
    Identity(
        "binary dropout",
        "Bernoulli noise; nothing charged",
        "a network of `nn.Dropout` and cross-entropy",
        _CLASSIFIERS,
        (
            "test_binary_dropout_is_a_dropout_network_under_the_same_mask",
            "test_noise_off_is_the_dropout_network_in_eval_mode",
        ),
    ),
    Identity(
        "constant noise",
        "fixed log-normal noise; log-uniform prior",
        "cross-entropy + a constant, which no parameter moves",
        _CLASSIFIERS,
        ("test_constant_noise_has_a_rate_that_no_parameter_moves",),
    ),
    Identity(
        "variational dropout",
        "Gaussian noise, shared over samples; log-uniform prior of the size of z; β = 1/N",
        "Kingma et al. 2015, equation 1, and the same with the weights as a global latent site",
        "tests/models/test_variational_dropout.py",
        (
            "test_both_are_equation_1_of_kingma_by_hand",
            "test_same_noise_for_all_samples_gives_equal_elbos",
            "test_same_noise_gives_equal_gradients",
        ),
    ),
    Identity(
        "VAE",
        "additive Gaussian noise; standard normal prior; β = 1",
        "Pyro's `TraceMeanField_ELBO`, to the last digit",
        _VAES,
        ("test_it_is_pyros_mean_field_elbo_to_the_last_digit",),
    ),
    Identity(
        "beta-VAE",
        "the same; any β",
        "Higgins et al. 2017, equation 4",
        _VAES,
        ("test_beta_vae_by_hand",),
    ),
    Identity(
        "VAE with information dropout",
        "learned log-normal noise; log-normal prior, learned",
        "a bound: below the importance-weighted likelihood, and that below the likelihood",
        _VAES,
        (
            "test_information_vae_by_hand",
            "test_elbo_is_below_the_importance_weighted_likelihood_and_that_below_the_truth",
        ),
    ),
    Identity(
        "beta-TCVAE, FactorVAE",
        "additive Gaussian noise; β = 1, γ > 0",
        "Chen et al. 2018, equation 4; Kim & Mnih 2018, equation 2",
        _DISENTANGLING,
        (
            "test_beta_tcvae_weights_one_term_of_the_decomposition",
            "test_factor_vae_adds_the_mean_logit_of_its_critic",
        ),
    ),
    Identity(
        "ICA",
        "additive Gaussian noise, not charged; β = 0, γ > 0",
        "reconstruction + γ TC: least at the sources, those that FastICA finds",
        "tests/models/test_ica.py",
        (
            "test_loss_is_reconstruction_plus_gamma_times_total_correlation",
            "test_minibatch_total_correlation_is_least_at_the_sources",
            "test_it_finds_the_sources_as_fast_ica_does",
        ),
    ),
)
"""The cases, each with the tests that hold it."""


def summary_row() -> str:
    """Return the line of the table of all claims."""
    return f"| Unification | {_CLAIM} | {_VERDICT} |"


def unification_section() -> str:
    """Return the section of the page, in Markdown."""
    lines = [
        "## Unification: one Lagrangian",
        "",
        "What the paper derives is held here by tests: the programs of this repository against the formulas and other "
        "implementations, in float64 and under the same noise. No seed or interval is in it.",
        "",
        "    make test",
        "",
        "| case | noise, prior and weights | the Lagrangian is | tests |",
        "|---|---|---|---|",
    ]
    for each in IDENTITIES:
        tests = ", ".join(f"`{name}`" for name in each.tests)
        cells = (each.case, each.settings, each.equals, f"`{each.file}`: {tests}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])
