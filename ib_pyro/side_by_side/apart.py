"""Programs of runs that come one after the other: what one of them learns, the next must not begin with."""

from torch import Tensor, nn

__all__ = ["Apart"]


class Apart:
    """The programs so far, none of which may have learned a part of the next.

    Programs may share what stays as it is, such as a network that was trained before.
    """

    def __init__(self) -> None:
        self._seen: list[tuple[Tensor, int, str]] = []

    def add(self, program: nn.Module, run: str) -> None:
        """Take a program in, before it is fitted.

        Args:
            program: The program.
            run: What its run is called.

        Raises:
            ValueError: If it has a parameter that learns, or a tensor that has changed since, in common with an
                earlier one; names it.
        """
        # By where they lie now: a fit may have moved what it learned, and memory may have been given to another.
        seen = {_address(tensor): (tensor, version, other) for tensor, version, other in self._seen}
        for name, tensor in (*program.named_parameters(), *program.named_buffers()):
            before, version, other = seen.get(_address(tensor), (None, 0, ""))
            if before is None or tensor.numel() == 0:
                self._seen.append((tensor, tensor._version, run))
            elif tensor.requires_grad or before.requires_grad or before._version != version:
                raise ValueError(
                    f"{name}: the programs of the runs {other} and {run} share it, and the first has changed it; let "
                    "make_program build each program anew"
                )


def _address(tensor: Tensor) -> tuple[str, int]:
    return str(tensor.device), tensor.untyped_storage().data_ptr()
