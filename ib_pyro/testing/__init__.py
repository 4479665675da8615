"""Contracts that a layer, a distribution or a KL divergence of one's own can be held to, in any test runner.

A contract is a function that returns, or raises an ``AssertionError`` with a sentence. In pytest it is a test's body::

    @pytest.mark.parametrize("activation", ["relu", "softplus"])
    def test_my_noise_keeps_the_contract(activation):
        check_layer(
            lambda: MyNoise.linear(4, 3, activation=activation), torch.randn(8, 4)
        )

Nothing of pytest is imported here. Seeds, Pyro's validation and its parameter store are left as they were.
"""

from ib_pyro.testing.distribution_contract import check_distribution
from ib_pyro.testing.layer_contract import check_layer
from ib_pyro.testing.rate_contract import check_rate

__all__ = ["check_distribution", "check_layer", "check_rate"]
