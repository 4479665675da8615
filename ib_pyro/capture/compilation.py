"""A recorded graph compiled by Inductor, PyTorch's compiler, instead of run operation by operation."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.fx import GraphModule

from ib_pyro.capture.recording import CaptureError

__all__ = ["compiled"]

# Inductor has random numbers of its own; these are PyTorch's, from its generators.
OPTIONS = {"fallback_random": True}


def compiled(graph: GraphModule, inputs: Sequence[Tensor]) -> Callable[..., list[Tensor]]:
    """Return a graph's function as machine code: it takes what the graph takes and draws what the graph draws.

    Operations that follow each other are fused, so that rounding differs. It takes seconds to minutes, and a compiler
    for C++ (on a GPU Triton).

    Args:
        graph: A recorded graph.
        inputs: What it is to be called with: tensors of these types, shapes, strides and devices.

    Raises:
        CaptureError: If there is no compiler that works, or it does not take the graph; says what to do.
    """
    # Either takes a second to import, which who does not compile need not wait for.
    from torch._inductor import compile as compile_graph
    from torch._inductor.exc import InvalidCxxCompiler

    validates = Distribution._validate_args
    try:
        with torch.no_grad():
            run = compile_graph(graph, list(inputs), options=OPTIONS)
    except Exception as error:
        causes = [error, error.__cause__, getattr(error, "inner_exception", None)]
        if any(isinstance(cause, InvalidCxxCompiler) for cause in causes):
            raise CaptureError(
                "compile=True needs a compiler for C++, and none works here; install one, such as g++, or name one by "
                "the environment variable CXX, or do without compile"
            ) from error
        reason = (str(error).strip().splitlines() or [""])[0]
        raise CaptureError(
            f"the program is captured but cannot be compiled ({type(error).__name__}: {reason}); do without compile"
        ) from error
    finally:
        Distribution.set_default_validate_args(validates)

    def call(*given: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return _apart(run(*given))

    return call


def _apart(results: Sequence[Tensor]) -> list[Tensor]:
    """Copy results that the compiler has found to be one tensor: they may be written to."""
    seen: set[int] = set()
    apart = []
    for result in results:
        address = result.data_ptr()
        apart.append(result.clone() if address in seen else result)
        seen.add(address)
    return apart
