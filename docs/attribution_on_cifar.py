"""Maps of a small network on CIFAR-10 beside Captum's methods, for the table of ``attribution.md``.

IB_PYRO_DATA=FOLDER python docs/attribution_on_cifar.py
"""

import torch
from captum import attr
from torch import Tensor, nn
from torch.nn import functional as F

from ib_pyro import attribution
from ib_pyro.data import load

PLACE, CLASSES, IMAGES, EPOCHS = "7", 10, 200, 7


def block(before: int, after: int) -> list[nn.Module]:
    """A convolution with batch norm and ReLU."""
    return [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]


def fitted(x: Tensor, y: Tensor) -> nn.Module:
    """A network of four convolutions."""
    pools = [nn.MaxPool2d(2), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1)]
    layers = [
        *block(3, 16),
        pools[0],
        *block(16, 32),
        pools[1],
        *block(32, 64),
        *block(64, 64),
        pools[2],
    ]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, CLASSES))
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    steps = EPOCHS * -(-len(x) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(64):
            images = torch.where(
                torch.rand(len(rows), 1, 1, 1) < 0.5, x[rows].flip(3), x[rows]
            )
            optimizer.zero_grad()
            F.cross_entropy(network(images), y[rows]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def maps_of(
    network: nn.Module, x: Tensor, y: Tensor, train: tuple[Tensor, Tensor]
) -> dict[str, Tensor]:
    """The maps of each method, ``[N, H, W]``."""
    size, layer, rays = (
        x.shape[2:],
        network.get_submodule(PLACE),
        x.clone().requires_grad_(),
    )
    statistics = attribution.feature_statistics(
        network, PLACE, train[0][:2000].split(200)
    )
    readout = attribution.ReadoutAttribution(
        network, PLACE, statistics, read=[PLACE, "10", "13"]
    )
    readout.fit(
        [(train[0][rows], train[1][rows]) for rows in torch.arange(4000).split(50)],
        epochs=4,
    )
    integrated = attr.IntegratedGradients(network).attribute(rays, target=y, n_steps=20)
    cam = attr.LayerGradCam(network, layer).attribute(rays, target=y).detach().relu()
    per_sample = attribution.PerSampleAttribution(network, PLACE, statistics, draws=5)
    return {
        "information": per_sample(x, y).over_pixels(size),
        "information, readout": readout(x, y).over_pixels(size),
        "gradient": attr.Saliency(network).attribute(rays, target=y).sum(1).detach(),
        "integrated gradients": integrated.abs().sum(1).detach(),
        "Grad-CAM": F.interpolate(cam, size=size, mode="bilinear")[:, 0],
        "random": torch.rand(len(x), *size),
    }


def sanity(
    network: nn.Module, x: Tensor, y: Tensor, train: Tensor
) -> dict[str, Tensor]:
    """The rank correlation of the per-sample map with that of other weights."""
    last = str(len(list(network.children())) - 1)
    others = {
        "the same weights": network,
        "last layer drawn anew": attribution.randomised(network, only=last),
        "all weights drawn anew": attribution.randomised(network),
    }
    found = {}
    for name, other in {"": network, **others}.items():
        statistics = attribution.feature_statistics(
            other, PLACE, train[:2000].split(200)
        )
        found[name] = attribution.PerSampleAttribution(
            other, PLACE, statistics, draws=5
        )(x, y).rate
    return {
        name: attribution.rank_correlation(found[""], found[name]).nan_to_num(0.0)
        for name in others
    }


def main() -> None:
    """Print the table."""
    torch.manual_seed(0)
    train, test = (
        load("cifar10", "train", limit=10_000),
        load("cifar10", "test", limit=1000),
    )
    mean, scale = (
        train.x.mean((0, 2, 3), keepdim=True),
        train.x.std((0, 2, 3), keepdim=True),
    )
    x, test_x = (train.x - mean) / scale, (test.x - mean) / scale
    network = fitted(x, train.y)
    with torch.no_grad():
        print(
            f"{(network(test_x).argmax(-1) == test.y).float().mean():.1%} of 1,000 test images rightly",
            flush=True,
        )
    x_few, y_few = test_x[:IMAGES], test.y[:IMAGES]
    for name, found in maps_of(network, x_few, y_few, (x, train.y)).items():
        curves = attribution.degradation_curves(network, x_few, y_few, found)
        areas = curves.deletion_area, curves.insertion_area
        print(f"| {name} |", " | ".join(cell(area) for area in areas), "|", flush=True)
    for name, values in sanity(network, x_few[:60], y_few[:60], x).items():
        print(f"{name}: {cell(values)}", flush=True)


def cell(values: Tensor) -> str:
    """Mean and half of the 95 % interval."""
    mean, half = attribution.mean_interval(values)
    return f"{mean:.3f} ± {half:.3f}"


if __name__ == "__main__":
    main()
