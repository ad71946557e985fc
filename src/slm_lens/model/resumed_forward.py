"""A forward pass that begins at any block and any position of a run that is known.

A change at position ``p`` of layer ``l`` leaves every earlier position as it was, and every block
before ``l``. So the blocks from ``l`` on are run for the positions from ``p`` on alone; what their
queries look back at, the keys and values of the earlier positions, was recorded in the run that is
known. Copies with different changes go through the blocks as one batch.

The model's own code makes masks and position embeddings: it is called for the later tokens as in
generation, with a cache that holds the earlier ones; blocks before the first one pass on what they
get, the first one gets the states in question, and behind the last one the call is left.

Source: ours; suffix and prefix reuse as in generation.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin, DynamicCache


@dataclass(frozen=True, eq=False)
class Recording:
    """A run that is known.

    Attributes:
        tokens: its token ids.
        states: residual stream before the first block and after every one.
        keys: keys of each layer, as its attention caches them, ``[1, head, pos, d_head]``.
        values: likewise.
        n_returned: how many things a block returns as a tuple; 0 for a bare tensor.
    """

    tokens: Int[Tensor, " pos"]
    states: Float[Tensor, "layer pos d_model"]
    keys: Sequence[Tensor]
    values: Sequence[Tensor]
    n_returned: int

    @property
    def n_bytes(self) -> int:
        """What it takes."""
        return sum(x.nbytes for x in (self.states, *self.keys, *self.values))


class _Left(BaseException):
    """Leaves a forward pass whose rest is not wanted; no model's own `except` should stop it."""


class _Prefix(CacheLayerMixin):
    """Keys and values of the earlier positions, the same for every copy; keeps no new ones."""

    is_sliding = False

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.keys, self.values = keys, values
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing to set up."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Earlier and new ones together."""
        assert self.keys is not None
        assert self.values is not None
        n = len(key_states)
        return (
            torch.cat([self.keys.expand(n, -1, -1, -1), key_states], dim=2),
            torch.cat([self.values.expand(n, -1, -1, -1), value_states], dim=2),
        )

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the keys."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Earlier positions."""
        assert self.keys is not None
        return self.keys.shape[2]

    def get_max_length(self) -> int:
        """No limit."""
        return -1


@torch.no_grad()
def record(
    model: nn.Module,
    blocks: nn.ModuleList,
    tokens: Int[Tensor, " pos"],
    first_state: Float[Tensor, "pos d_model"] | None = None,
) -> Recording:
    """Run a model once and keep what later runs need.

    Args:
        model: a Hugging Face model, or the one inside a bridge.
        blocks: its decoder blocks.
        tokens: token ids, on the model's device.
        first_state: what goes into the first block instead of the embeddings; None for these.

    Returns:
        The recording.
    """
    cache = DynamicCache()
    states: list[Tensor] = []
    n_returned = 0

    def before(_block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        args, kwargs = _with_state(args, kwargs, None if first_state is None else first_state[None])
        states.append(_state(args, kwargs))
        return args, kwargs

    def after(_block: nn.Module, _args: object, output: Any) -> None:
        nonlocal n_returned
        n_returned = len(output) if isinstance(output, tuple) else 0
        states.append(output[0] if isinstance(output, tuple) else output)
        if len(states) == len(blocks) + 1:
            raise _Left

    handles = [blocks[0].register_forward_pre_hook(before, with_kwargs=True)]
    handles += [block.register_forward_hook(after) for block in blocks]
    try:
        _call(model, tokens[None], len(tokens), cache)
    finally:
        for handle in handles:
            handle.remove()
    stack = torch.stack([state[0] for state in states])
    layers: Any = cache.layers
    return Recording(
        tokens, stack, [x.keys for x in layers], [x.values for x in layers], n_returned
    )


@torch.no_grad()
def resume(
    model: nn.Module,
    blocks: nn.ModuleList,
    recording: Recording,
    states: Float[Tensor, "batch later d_model"],
    *,
    first: int,
    last: int,
) -> Float[Tensor, "batch later d_model"]:
    """Run some blocks on other states of the later positions.

    Args:
        model: the model that was recorded, or the same inside its bridge.
        blocks: its decoder blocks.
        recording: the run that is known.
        states: residual stream before block `first`, at as many positions as there are, up to the
            last one.
        first: first block that runs.
        last: last block that runs.

    Returns:
        Residual stream after block `last`.
    """
    n_copies, n_later = states.shape[:2]
    start = len(recording.tokens) - n_later
    cache = None
    if start:
        pairs = zip(recording.keys, recording.values, strict=True)
        cache = Cache(layers=[_Prefix(k[:, :, :start], v[:, :, :start]) for k, v in pairs])
    found: list[Tensor] = []

    def before(_block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return _with_state(args, kwargs, states)

    def after(_block: nn.Module, _args: object, output: Any) -> None:
        found.append(output[0] if isinstance(output, tuple) else output)
        raise _Left

    handles = [
        blocks[first].register_forward_pre_hook(before, with_kwargs=True),
        blocks[last].register_forward_hook(after),
    ]
    try:
        with _passing_on(list(blocks)[:first], recording.n_returned):
            tokens = recording.tokens[start:].expand(n_copies, -1)
            _call(model, tokens, len(recording.tokens), cache)
    finally:
        for handle in handles:
            handle.remove()
    return found[0]


def _call(
    model: nn.Module, tokens: Int[Tensor, "batch later"], n_keys: int, cache: Cache | None
) -> None:
    mask = torch.ones(len(tokens), n_keys, dtype=torch.int64, device=tokens.device)
    try:
        model(
            input_ids=tokens,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=cache is not None,
        )
    except _Left:
        return
    raise RuntimeError("resume: the model ended before its last block was left.")


@contextmanager
def _passing_on(blocks: Sequence[nn.Module], n_returned: int) -> Iterator[None]:
    """Blocks return what they are given."""

    def forward(*args: Any, **kwargs: Any) -> Any:
        state = _state(args, kwargs)
        return (state, *[None] * (n_returned - 1)) if n_returned else state

    before = [block.__dict__.get("forward") for block in blocks]
    try:
        for block in blocks:
            block.__dict__["forward"] = forward  # setting it would set it on what a bridge wraps
        yield
    finally:
        for block, own in zip(blocks, before, strict=True):
            if own is None:
                block.__dict__.pop("forward", None)
            else:
                block.__dict__["forward"] = own


def _state(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    return args[0] if args else kwargs["hidden_states"]


def _with_state(
    args: tuple[Any, ...], kwargs: dict[str, Any], state: Tensor | None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if state is None:
        return args, kwargs
    if args:
        return (state, *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": state}
