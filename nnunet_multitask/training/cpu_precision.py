"""Mixed precision on the CPU, where nnU-Net has none."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def run_in_bfloat16(network: nn.Module) -> None:
    """Let a network's forward passes run in bfloat16 where torch's autocast on the CPU thinks it safe.

    What a pass returns is single precision, so that losses and sums over tiles are; so are weights, their gradients and
    the optimiser. bfloat16 has the range of single precision, hence no scaling of the loss.

    Args:
        network: on the CPU; the passes of this instance change.
    """
    forward = network.forward

    def mixed(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            outputs = forward(*args, **kwargs)
        return _in_single_precision(outputs)

    network.forward = mixed


def _in_single_precision(outputs: Any) -> Any:
    """Return tensors, and those in tuples, lists and dictionaries, in single precision."""
    if isinstance(outputs, torch.Tensor):
        return outputs.float()
    if isinstance(outputs, dict):
        return {name: _in_single_precision(value) for name, value in outputs.items()}
    return type(outputs)(_in_single_precision(value) for value in outputs)
