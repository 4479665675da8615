# `python fifteen_lines.py fit` in one process, then in another `... fifteen_lines.py compare`.
import sys

import arviz as az
from torch.nn import Flatten, Linear, Sequential

import ib_pyro as ib


def make():
    return ib.Bottleneck(Sequential(Flatten(), ib.nn.InformationDropout.linear(64, 32)), Linear(32, 10))


betas, train, test = (1e-3, 1e-1, 1.0), ib.data.load("digits", "train"), ib.data.load("digits", "test")
if sys.argv[1] == "fit":
    for beta in betas:
        ib.fit(program := make(), train, beta=beta, epochs=10)
        ib.save(program, str(beta))
    curve = ib.sweep(make, train, betas=betas, seeds=(0, 1), epochs=10, test=test)
    ib.plots.plot_rate_distortion(curve).figure.savefig("curve.png")
else:
    print(az.compare({b: ib.elpd(ib.to_arviz(ib.load(b, make()), test.x, test.y)) for b in map(str, betas)}))
