"""Failures of other libraries, told as ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def foreign(library: str, doing: str, where: str) -> Iterator[None]:
    """Say whose checkpoint it was when another library fails on it.

    Args:
        library: the library.
        doing: what it was to do, as a verb with its object.
        where: whose checkpoint it is.

    Raises:
        ValueError: the library failed.
    """
    try:
        yield
    except Exception as error:
        no_memory = isinstance(error, MemoryError | torch.OutOfMemoryError)
        raise ValueError(
            f"load: {library} cannot {doing} {where} ({type(error).__name__}: {error}), "
            + (
                "expected memory for its weights. Load it in half precision "
                "(dtype=torch.bfloat16), or share it out: device_map='auto'."
                if no_memory or "enough memory" in str(error)
                else "expected a config and weights that belong together. Was config.json edited?"
            )
        ) from error
