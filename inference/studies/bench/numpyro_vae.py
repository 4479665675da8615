"""The autoencoder in NumPyro, an epoch in one compiled call; run as a module, beside an epoch of ``fit``.

    python -m inference.studies.bench.numpyro_vae IMAGES EPOCHS THREADS

prints the times of both as JSON. JAX gets a process of its own: its threads do not outlive a fork, such as that of a
loader's worker.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from inference.studies.bench.not_measured import NotMeasured
from inference.studies.bench.taking_turns import Block, Comparison, Times

__all__ = ["NUMPYRO", "numpyro_block", "numpyro_epochs"]

NUMPYRO = "NumPyro, jitted"
HIDDEN, LATENT, PIXELS = 400, 50, 784
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"


def numpyro_epochs(images: int, epochs: int, threads: int) -> Comparison:
    """Time epochs of ``fit``, captured, and of NumPyro, in turn in a process of their own.

    Args:
        images: Images in an epoch.
        epochs: Epochs of each.
        threads: Threads that each computes with.

    Raises:
        NotMeasured: If JAX or NumPyro is not installed.
    """
    lacking = [name for name in ("jax", "numpyro") if find_spec(name) is None]
    if lacking:
        raise NotMeasured(f"{' and '.join(lacking)} not installed: pip install 'ib-pyro[bench]'")
    words = [sys.executable, "-m", __name__, str(images), str(epochs), str(threads)]
    flags = f"{os.environ.get('XLA_FLAGS', '')} {ONE_THREAD}" if threads == 1 else ""
    environment = {**os.environ, "XLA_FLAGS": flags.strip(), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the process of NumPyro ended with {done.returncode}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    times = {way: tuple(Times(*each) for each in blocks) for way, blocks in found.items()}
    clock = "processor" if threads == 1 else "wall"
    return Comparison("MNIST VAE beside NumPyro", "epoch", threads, clock, times)


def numpyro_block(images: Any, batch_size: int) -> Block:  # noqa: ANN401  (an array of NumPy's)
    """Return an epoch of NumPyro's SVI with ``Trace_ELBO`` and Adam, as in its example of a VAE, compiled as a whole.

    Args:
        images: Zeros and ones ``[N, 784]``; the last, partial batch is left out.
        batch_size: Images in a step.
    """
    import jax
    from jax import lax, random
    from numpyro import optim
    from numpyro.infer import SVI, Trace_ELBO

    x, steps = jax.numpy.asarray(images), len(images) // batch_size
    inference = SVI(*_programs(), optim.Adam(1e-3), Trace_ELBO())
    state = inference.init(random.PRNGKey(0), x[:batch_size])

    @jax.jit
    def epoch(state: Any, key: Any) -> Any:  # noqa: ANN401
        order = random.permutation(key, len(x))

        def step(index: Any, carried: Any) -> Any:  # noqa: ANN401
            state, total = carried
            chosen = lax.dynamic_slice_in_dim(order, index * batch_size, batch_size)
            state, loss = inference.update(state, x[chosen])
            return state, total + loss

        return lax.fori_loop(0, steps, step, (state, 0.0))

    held = {"state": state, "key": random.PRNGKey(1)}

    def block() -> float:
        held["key"], key = random.split(held["key"])
        held["state"], loss = epoch(held["state"], key)
        return float(loss)

    return block


def _programs() -> tuple[Callable[[Any], None], Callable[[Any], None]]:
    import jax.numpy as jnp
    import numpyro
    from jax.example_libraries import stax
    from numpyro import distributions as dist

    encoder = stax.serial(
        stax.Dense(HIDDEN),
        stax.Relu,
        stax.FanOut(2),
        stax.parallel(stax.Dense(LATENT), stax.serial(stax.Dense(LATENT), stax.Softplus)),
    )
    decoder = stax.serial(stax.Dense(HIDDEN), stax.Relu, stax.Dense(PIXELS))

    def model(x: Any) -> None:  # noqa: ANN401
        decode = numpyro.module("decoder", decoder, (len(x), LATENT))
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(jnp.zeros(LATENT), jnp.ones(LATENT)).to_event(1))
            numpyro.sample("x", dist.Bernoulli(logits=decode(z)).to_event(1), obs=x)

    def guide(x: Any) -> None:  # noqa: ANN401
        encode = numpyro.module("encoder", encoder, (len(x), PIXELS))
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(*encode(x)).to_event(1))

    return model, guide


def _main(images: int, epochs: int, threads: int) -> None:
    import torch

    from inference.studies.bench.synthetic import binary_images
    from inference.studies.bench.taking_turns import take_turns
    from inference.studies.bench.vae_epochs import BATCH, vae_block

    torch.set_num_threads(threads)
    x = binary_images(images)
    ways = {
        "captured": vae_block(x, capture="on"),
        NUMPYRO: numpyro_block(x.flatten(1).numpy(), BATCH),
    }
    print(json.dumps(take_turns(ways, blocks=epochs)))


if __name__ == "__main__":
    _main(*map(int, sys.argv[1:]))
