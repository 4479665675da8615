"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from ib_pyro.provenance import revision, versions
from inference.studies.bench.device import Device

__all__ = ["describe_machine"]

PACKAGES = ("ib-pyro", "torch", "pyro-ppl", "lightning", "numpy", "numpyro", "jax")


def describe_machine(device: Device) -> dict[str, str]:
    """Return processor, memory, system, versions, commit and how busy the machine is, in words."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = {
        "processor": f"{_processor()}, {cores} cores for this process",
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
        "memory": _memory(),
        "system": platform.platform(),
        "versions": ", ".join(f"{name} {each}" for name, each in versions(*PACKAGES).items() if each),
        "commit": _commit(),
        "load": _load(),
    }
    if device.name == "cuda":
        found["GPU"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (AttributeError, OSError, ValueError):
        return "unknown"


def _commit() -> str:
    found = revision(Path(__file__).parent)
    if found is None:
        return "not from a repository"
    return f"{found['commit'][:10]}{', with changes' if found['dirty'] else ''}"


def _load() -> str:
    if not hasattr(os, "getloadavg"):
        return "unknown"
    return f"{os.getloadavg()[0]:.1f} processes in the minute before: near 0 on a quiet machine"
