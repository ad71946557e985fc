"""Activations changed for as long as a ``with`` block lasts, in every forward of the model.

::

    with changed(model, [Change(Site("resid_post", 3), (5, None), lambda states, _: 2 * states)]):
        model.run_with_cache(tokens)  # or residual_stack, word_lens, model.generate, ...

A change acts on positions of the *sequence*, wherever a forward pass begins: with a cache of keys
and values it sees one new position at a time, and is told which. (Rows that are padded on
the left count their padding.) Blocks nest; what was put on later acts on what the earlier ones
left.

``hook_resid_mid`` of a bridge is what goes into the norm before the MLP. A change there leaves the
stream that skips the MLP as it was, so a change at ``resid_mid`` is made to what attention adds.

Hooks go on the hook points themselves, and not through the model's ``hooks``: in compatibility mode
that one calls a hook once for each name of its point, and what adds a vector would add it twice.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Int
from torch import Tensor

from slm_lens.interventions.runs.patched_runs import Patch
from slm_lens.interventions.site import HEAD_KINDS, Site, check_sites
from slm_lens.lens.model import LensModel

OpenSpan = tuple[int, int | None]
"""Half-open positions; None for no end."""

EVERYWHERE: OpenSpan = (0, None)

Edit = Callable[[Tensor, Int[Tensor, " n_positions"]], Tensor]
"""From activations ``[batch, n_positions, ...]`` and their positions to what replaces them."""


@dataclass(frozen=True, eq=False)
class Change:
    """An activation, the positions where it is changed, and how.

    Attributes:
        site: which activation. Of a single head the edit gets ``[batch, n_positions, d_head]``, of
            all heads ``[batch, n_positions, head, d_head]``; ``pattern`` has query positions, and
            rows over the key positions in place of ``d_head``.
        span: half-open positions in the sequence; an end of None is open, so that positions that
            are generated later count too.
        edit: from the activations at the positions of the span that a forward pass has, and these
            positions, to activations of the same shape.

    Raises:
        ValueError: the span is empty or begins before the sequence.
    """

    site: Site
    span: OpenSpan
    edit: Edit

    def __post_init__(self) -> None:
        check_span(self.span, "Change")


def check_span(span: OpenSpan, caller: str) -> None:
    """Refuse a span that holds no position.

    Args:
        span: half-open positions; None for no end.
        caller: the public name, to begin messages with.

    Raises:
        ValueError: the span is empty or begins before the sequence.
    """
    start, end = span
    if start < 0 or (end is not None and end <= start):
        raise ValueError(
            f"{caller}: got the span {span}, expected 0 <= start < end, or an end of None. "
            "Positions are counted from the start of the sequence."
        )


@contextmanager
def changed(model: LensModel, changes: Sequence[Change]) -> Iterator[None]:
    """Change activations in every forward pass until the block ends, also by an error.

    Args:
        model: the model.
        changes: what is changed; of one activation the later ones act on what the earlier left.

    Yields:
        Nothing.

    Raises:
        ValueError: a layer, head or activation that the model does not have; or, in a forward
            pass, an edit that gives another shape.
    """  # noqa: DOC502 (raised by check_sites and the hooks)
    check_sites(model, [c.site for c in changes], "changed")
    clock = _Clock()
    hooks = [pair for change in changes for pair in _hooks_of(model, change, clock)]
    with ExitStack() as undo:
        whole = cast(Any, model).original_model
        undo.callback(whole.register_forward_pre_hook(clock.begin, with_kwargs=True).remove)
        undo.callback(whole.register_forward_hook(clock.end, always_call=True).remove)
        undo.enter_context(hooked(hooks))
        yield


@contextmanager
def hooked(hooks: Sequence[tuple[Any, Any]]) -> Iterator[None]:
    """Hooks on hook points until the block ends; those of others stay.

    Args:
        hooks: hook points, as `hook_point` gives them, and functions of an activation and its hook.

    Yields:
        Nothing.
    """
    with ExitStack() as undo:
        for point, hook in hooks:
            undo.callback(_remove, point, point.add_hook(hook))
        yield


@contextmanager
def patched(model: LensModel, patches: Sequence[Patch]) -> Iterator[None]:
    """Put values at positions in every forward pass of the model until the block ends.

    `PatchedRuns` measures many patches of one run in a fraction of the time; this is for tools that
    run the model themselves, and for generation.

    Args:
        model: the model.
        patches: what is put where, in all rows of a batch. A position that a run does not reach
            is left until one does.

    Yields:
        Nothing.

    Raises:
        ValueError: a site that the model does not have, values and positions of different number;
            or, in a forward pass, values of another shape.
    """  # noqa: DOC502 (raised by changed and the hooks)
    with changed(model, [_as_change(patch) for patch in patches]):
        yield


def _as_change(patch: Patch) -> Change:
    where = patch.positions.tolist()
    if not where or min(where) < 0 or len(set(where)) != len(patch.values):
        raise ValueError(
            f"patched: got {len(patch.values)} values for the positions {where}, expected one "
            "for each position, and each position once, from 0 on."
        )
    row_of = {position: row for row, position in enumerate(where)}

    def put(old: Tensor, positions: Tensor) -> Tensor:
        given = [(i, row_of[p]) for i, p in enumerate(positions.tolist()) if p in row_of]
        new = old.clone()
        if given:
            at, rows = (list(x) for x in zip(*given, strict=True))
            values = patch.values[rows].to(old.device, old.dtype)
            if values.shape[1:] != old.shape[2:]:
                raise ValueError(
                    f"patched: got values of shape {tuple(values.shape[1:])} at each position for "
                    f"{patch.site.label}, expected {tuple(old.shape[2:])}."
                )
            new[:, at] = values
        return new

    return Change(patch.site, (min(where), max(where) + 1), put)


def hook_point(model: LensModel, name: str, caller: str) -> Any:
    """A hook point of the model.

    Args:
        model: the model.
        name: its name, under any alias.
        caller: the public name, to begin messages with.

    Returns:
        The hook point.

    Raises:
        ValueError: there is none.
    """
    found = cast(Any, model).hook_dict.get(name)
    if found is None:
        raise ValueError(
            f"{caller}: got a model without {name}, expected that hook. Blocks whose attention and "
            "MLP read the same stream have no resid_mid; take another kind."
        )
    return found


@dataclass(eq=False)
class _Clock:
    """Where in the sequence the forward pass that runs begins; None outside of one."""

    now: list[int] = field(default_factory=list)

    def begin(self, _model: object, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        past = kwargs.get("past_key_values")
        self.now.append(0 if past is None else int(past.get_seq_length()))

    def end(self, _model: object, _args: object, _output: object) -> None:
        self.now.pop()

    def positions(self, n: int, device: torch.device) -> Int[Tensor, " n"]:
        if not self.now:
            raise ValueError(
                "changed: got a run of single blocks, expected forward passes of the whole model, "
                "which say where in the sequence they begin. Leave the `with` block first."
            )
        return torch.arange(self.now[-1], self.now[-1] + n, device=device)


def _hooks_of(model: LensModel, change: Change, clock: _Clock) -> list[tuple[Any, Any]]:
    """Hook points and hooks that make a change."""
    site = change.site
    point = hook_point(model, site.hook, "changed")
    if site.kind != "resid_mid":
        return [(point, partial(_edited, change=change, clock=clock))]
    # The block's input, behind whatever changes it: what the norm before the attention reads, or
    # the attention itself, where norms come after it (OLMo 2).
    prefix = f"blocks.{site.layer}."
    names = (f"{prefix}ln1.hook_in", f"{prefix}attn.hook_in")
    first = next((n for n in names if n in cast(Any, model).hook_dict), names[0])
    middle = _Middle(change, clock)
    attention = hook_point(model, f"{prefix}hook_attn_out", "changed")
    return [(hook_point(model, first, "changed"), middle.enter), (attention, middle.leave)]


def _edited(activation: Tensor, hook: object, *, change: Change, clock: _Clock) -> Tensor | None:  # noqa: ARG001 (TransformerLens names it)
    heads_first = change.site.kind == "pattern"
    rows = activation.transpose(1, 2) if heads_first else activation
    positions, inside = _inside(rows, change, clock)
    if not len(inside):
        return None
    new = rows.clone()
    if change.site.kind in HEAD_KINDS and change.site.head is not None:
        new[:, inside, change.site.head] = _apply(
            change, rows[:, inside, change.site.head], positions
        )
    else:
        new[:, inside] = _apply(change, rows[:, inside], positions)
    return new.transpose(1, 2) if heads_first else new


@dataclass(eq=False)
class _Middle:
    """The stream between attention and MLP, changed through what attention adds.

    The hook of ``attn_out`` has what is added, behind a norm or factor of the block (Granite).
    """

    change: Change
    clock: _Clock
    before: Tensor | None = None

    def enter(self, activation: Tensor, hook: object) -> None:  # noqa: ARG002
        self.before = activation

    def leave(self, activation: Tensor, hook: object) -> Tensor | None:  # noqa: ARG002
        before, self.before = self.before, None
        assert before is not None
        positions, inside = _inside(activation, self.change, self.clock)
        if not len(inside):
            return None
        middle = before[:, inside] + activation[:, inside]
        new = activation.clone()
        new[:, inside] += _apply(self.change, middle, positions) - middle
        return new


def _inside(rows: Tensor, change: Change, clock: _Clock) -> tuple[Tensor, Tensor]:
    """Positions of the span that a forward pass has, and where they are in its activations."""
    positions = clock.positions(rows.shape[1], rows.device)
    start, end = change.span
    inside = (positions >= start) & (positions < (positions[-1] + 1 if end is None else end))
    return positions[inside], inside.nonzero()[:, 0]


def _apply(change: Change, old: Tensor, positions: Tensor) -> Tensor:
    new = change.edit(old, positions)
    if new.shape != old.shape:
        raise ValueError(
            f"changed: got values of shape {tuple(new.shape)} for {change.site.label}, expected "
            f"{tuple(old.shape)} [batch, n_positions, ...]."
        )
    return new.to(old.device, old.dtype)


def _remove(point: Any, handle: Any) -> None:
    handle.hook.remove()
    point.fwd_hooks[:] = [h for h in point.fwd_hooks if h is not handle]
