"""A fit for `test_over_processes`, started as often as there are processes: ``python over_processes.py JSON``."""

import json
import sys
import warnings
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn

import ib_pyro
from ib_pyro import Bottleneck, noise_off
from ib_pyro.nn import InformationDropout


def samples(size):
    generator = torch.Generator().manual_seed(3)
    return torch.rand(size, 6, generator=generator), torch.randint(3, (size,), generator=generator)


def program(norm):
    torch.manual_seed(0)
    first = InformationDropout.linear(6, 5, batch_norm=norm)
    return Bottleneck(nn.Sequential(first, InformationDropout.linear(5, 4)), nn.Linear(4, 3))


def main(settings):
    from lightning.fabric import Fabric

    processes = settings["processes"]
    strategy = "ddp" if processes > 1 else "auto"
    fabric = Fabric(accelerator="cpu", devices=processes, strategy=strategy)
    fabric.launch()
    fitted, seen = program(settings.get("norm", False)), []

    def note(x, y):
        seen.append((x.clone(), torch.get_rng_state().clone()))
        return x, y

    torch.manual_seed(11)
    out = Path(settings["out"])
    with noise_off() if settings["quiet"] else nullcontext(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = ib_pyro.fit(
            fitted,
            samples(settings["size"]),
            batch_size=settings["batch_size"],
            beta=0.05,
            order=torch.Generator().manual_seed(7),
            fabric=fabric,
            transform=note,
            progress=False,
            validation=samples(30),
            **settings["options"],
        )
    content = {
        "state": {name: value.clone() for name, value in fitted.state_dict().items()},
        "rows": found.rows,
        "result": (found.stopped, found.best_epoch, found.kept_epoch, found.not_captured),
        "seen": seen[2:],  # without the looks before the fit
        "warnings": [str(warning.message) for warning in caught],
    }
    torch.save(content, out / f"{settings['name']}.{fabric.global_rank}")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
