"""What a loss must know of the other processes of a distributed training."""

from __future__ import annotations

import torch
import torch.distributed as dist


def is_distributed() -> bool:
    """Tell whether this process is one of several that train together."""
    return dist.is_available() and dist.is_initialized()


def mean_over_processes(values: torch.Tensor) -> torch.Tensor:
    """Return the mean of a tensor over the processes of a distributed training, without a gradient.

    A distributed training averages the gradients of its processes. A process that divides its sum over samples by the
    mean of the processes' counts therefore takes its share in the mean over all their samples, however those are
    spread; divided by its own count, a rare sample would weigh more or less by the company that it is in.

    Args:
        values: any shape, floating; on the device that the process group communicates from.

    Returns:
        The same shape; ``values`` itself where the training is not distributed.
    """
    values = values.detach()
    if not is_distributed():
        return values
    values = values.clone()
    dist.all_reduce(values)
    return values / dist.get_world_size()
