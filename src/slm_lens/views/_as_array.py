"""Tensors and arrays alike as float32 arrays."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def as_array(values: Tensor | np.ndarray) -> Float[np.ndarray, "..."]:
    """Numbers on the CPU, float32.

    Args:
        values: a tensor of any device and dtype (bfloat16 too), or an array.

    Returns:
        The same numbers.
    """
    if isinstance(values, Tensor):
        return values.detach().to("cpu", torch.float32).numpy()
    return np.asarray(values, dtype=np.float32)
