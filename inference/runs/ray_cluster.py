"""Work on the machines of a Ray cluster, each of which sees the folder that results go to."""

from __future__ import annotations

import math
import os
import signal
import socket
import sys
import textwrap
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from inference.runs.engine import WorkerLost
from inference.runs.ray_nodes import Token, check_nodes

__all__ = ["RayCluster"]

_SECONDS_TO_CONNECT = 10.0

Item = TypeVar("Item")
Found = TypeVar("Found")


class RayCluster:
    """A cluster that queues pieces of work and gives each to a machine with processors to spare.

    Ray would do a task whose machine is lost again by itself, but without a word; ``inference.runs.pool`` does, and
    says so. A run goes on from its checkpoint on whichever machine is next, so all must see one folder.

    Args:
        out: The folder that all machines must see, under the same path.
        address: ``HOST:PORT`` of the cluster, or ``"auto"`` for one that this machine is part of; None for that or,
            where there is none, for a cluster of this machine alone, which ends with this process.
        data_root: Folder of the data, which all machines must see too.
        modules: Files of Python of the user's own, which they import, with a digest of each.
        slots: Pieces of work at a time; by default as many as the cluster has processors.
        cpus: Processors that a piece of work takes.
        gpus: GPUs that it takes; without, it sees none.
        say: Told what the cluster is made of.

    Raises:
        ValueError: If Ray is not installed, or the address is of its client.
    """

    def __init__(
        self,
        out: Path,
        *,
        address: str | None = None,
        data_root: Path | None = None,
        modules: Mapping[Path, str] | None = None,
        slots: float | None = None,
        cpus: int = 1,
        gpus: int = 0,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        try:
            import ray
        except ImportError:
            raise ValueError(
                "--engine ray needs Ray, which is not installed; pip install 'ib-pyro[sweep]'"
            ) from None
        if address is not None and address.startswith("ray://"):
            raise ValueError(
                f"--address {address} is one of Ray's client, which is not part of the cluster; run the sweep on one "
                "of its machines, with --address HOST:PORT or auto"
            )
        self.slots = math.inf if slots is None else slots
        self._ray, self._address = ray, address
        self._out, self._data_root, self._modules = out.absolute(), data_root, dict(modules or {})
        self._cpus, self._gpus, self._say = cpus, gpus, say

    def __enter__(self) -> Self:
        self._connect()
        try:
            self._token = Token.write(self._out)
            nodes = check_nodes(self._token, self._data_root, self._modules)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self._say(f"{len(nodes)} {'machine' if len(nodes) == 1 else 'machines'}: {', '.join(nodes)}")
        # Spread, since a machine that is lost should not take all of them with it.
        options = {"num_cpus": self._cpus, "num_gpus": self._gpus, "max_retries": 0}
        self._task = self._ray.remote(scheduling_strategy="SPREAD", **options)(_on_a_node)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ray.shutdown()  # whatever of this sweep still runs ends with it
        if hasattr(self, "_token"):
            self._token.remove()

    def submit(self, work: Callable[[Item], Found], item: Item) -> Future[Any]:
        """Hand over a piece of work."""
        future: Future[Any] = self._task.remote(work, item, self._token).future()
        return future

    def result(self, future: Future[Any]) -> Any:  # noqa: ANN401 - what the work returned
        """What came of it.

        Raises:
            WorkerLost: If its worker or machine was lost before it was done.
            ConnectionError: If the cluster is no more.
        """
        errors = self._ray.exceptions
        try:
            return future.result()
        except errors.RayTaskError as error:
            # Its own text is a traceback; what the work raised is in it.
            raise error.cause from error
        except (errors.NodeDiedError, errors.WorkerCrashedError, errors.OutOfMemoryError) as error:
            raise WorkerLost(_first_words(error)) from error
        except errors.RayError as error:
            raise ConnectionError(f"--engine ray: {_first_words(error)}") from error

    def _connect(self) -> None:
        _require_reachable(self._address or os.environ.get("RAY_ADDRESS"))
        in_main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGTERM)
        try:
            self._ray.init(
                self._address,
                log_to_driver=False,
                logging_level="WARNING",
                include_dashboard=False,
                runtime_env=self._runtime_env(),
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = "" if self._address is None else f" --address {self._address}"
            raise ValueError(
                f"--engine ray{where}: {_first_words(error)}; `ray start --head` begins a cluster, and its "
                "address is HOST:6379"
            ) from error
        finally:
            if in_main:
                signal.signal(signal.SIGTERM, before)  # Ray sets its own

    def _runtime_env(self) -> dict[str, Any] | None:
        """Where workers, which begin elsewhere, find the user's own modules; None if there are none."""
        if not self._modules:
            return None
        # After all others, as here: nothing of the user's own hides a module of ours.
        return {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}}


def _require_reachable(address: str | None) -> None:
    """Raise if nobody listens at an address, which Ray itself would try for minutes."""
    if address in (None, "", "auto", "local"):
        return
    host, _, port = str(address).rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_SECONDS_TO_CONNECT):
            pass
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--engine ray --address {address}: no cluster there ({error}); `ray start --head` begins one, and its "
            "address is HOST:6379"
        ) from error


def _on_a_node(work: Callable[[Item], Found], item: Item, token: Token) -> Found:
    """Do a piece of work on whichever machine this is, with the threads of a local process."""
    import torch

    # A machine that joined after the check was never asked.
    token.require()
    torch.set_num_threads(1)
    return work(item)


def _first_words(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return textwrap.shorten(lines[0].split(", node ID")[0].rstrip("."), 200, placeholder=" ...")
