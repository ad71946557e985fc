"""Many copies of one run, each with something put into it: the engine of every sweep.

Patching, ablating, adding a vector and restoring after noise are all the same: *values* are put at
some *positions* of some *sites* of a run, and the last layer is looked at. This engine does as
little of each such run as is needed:

1. the run without changes is recorded once;
2. copies with changes in the same layers go together as a batch, as many as the memory allows;
3. they begin at the first changed layer and position (`resumed_forward`);
4. blocks with a change inside (attention, MLP, heads) run through the bridge and its hooks, all
   others through the plain model with its fused attention.

Where that is not possible (hooks of the user's own, a model that will not resume), every copy is
a whole run of the bridge, and `PatchedRuns.engine` says so.

Source: ours. transformer-lens' `generic_activation_patch` does whole runs; the tests compare.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from slm_lens.interventions.runs._hooked_block import inner_hooks
from slm_lens.interventions.site import Site, check_sites, n_heads
from slm_lens.lens._runs import ONE_AT_A_TIME
from slm_lens.lens.model import LensModel
from slm_lens.model.plain_forward import PlainForward
from slm_lens.model.resumed_forward import Recording, record, resume

Engine = Literal["resumed", "resumed, hooked", "whole runs"]

# Largest difference between a resumed run and the recorded one, over the largest state. Measured on
# random models of eight architectures: float32 at most 2e-6. A wrong mask or position gives 0.1.
_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}

# Rows of a batch (copies x positions) beyond which larger products are no faster, while copies with
# a later first position would be run from an earlier one. False: not on a CPU (not measured).
_ROWS = {True: 1024, False: 16384}

# What the allocator holds, over what the copies of a batch need: batches differ in size, and freed
# pieces are kept. Measured by `benchmarks/patching.py` as the peak of the process.
_SLACK = 1.75


@dataclass(frozen=True, eq=False)
class Patch:
    """Values that are put at some positions of a site.

    Attributes:
        site: where in the model.
        positions: positions of the run, none twice.
        values: what is put there: ``[n_positions, d_model]``; for ``q``, ``k``, ``v`` and ``z``
            ``[n_positions, d_head]`` of one head or ``[n_positions, head, d_head]`` of all; for
            ``pattern`` ``[n_positions, pos]`` or ``[n_positions, head, pos]``, a row of attention
            over all positions of the run.
    """

    site: Site
    positions: Int[Tensor, " n_positions"]
    values: Float[Tensor, "n_positions ..."]


Cell = Sequence[Patch]
"""Patches that are done together in one run."""


class PatchedRuns:
    """One run, and copies of it with patches.

    Args:
        model: the model, in evaluation mode.
        tokens: token ids of the run.
        memory_mb: about how much the recorded run, the patches and a batch of copies may take
            together, in 10^6 bytes; where no copy fits, they run one at a time all the same.
        first_state: what goes into the first block instead of the embeddings, such as embeddings
            with noise; None for these.
        engine: None for the fastest that is possible; ``"whole runs"`` for the plain loop.

    Attributes:
        states: residual stream of the run without patches; layer ``l`` is what goes into block
            ``l``, the last one what leaves the last block.
        engine: how the copies are run. ``"resumed"``: as above; ``"resumed, hooked"``: all blocks
            through the bridge, which alone shows its weights or none has a plain model beside it;
            ``"whole runs"``: one whole run of the bridge for each copy.
        why: why it is not ``"resumed"``; empty if it is.

    Raises:
        ValueError: training mode, no token or one outside the vocabulary, or an unknown engine.
        TypeError: the tokens are no tensor of token ids.
    """

    states: Float[Tensor, "layer pos d_model"]

    def __init__(
        self,
        model: LensModel,
        tokens: Int[Tensor, " pos"],
        *,
        memory_mb: float = 256.0,
        first_state: Float[Tensor, "pos d_model"] | None = None,
        engine: Literal["whole runs"] | None = None,
    ) -> None:
        _check_run(model, tokens, memory_mb, engine)
        self._model: Any = model
        self._tokens = tokens.to(model.cfg.device)
        self._memory = memory_mb * 1e6
        self._first_state = first_state
        self.engine: Engine
        self.engine, self.why = (
            engine_of(model) if engine is None else (engine, "it was asked for")
        )
        self._recording = self._record()
        self.states = self._recording.states
        if self.engine != "whole runs":
            self._require_that_it_resumes()

    def _record(self) -> Recording:
        with ONE_AT_A_TIME, torch.no_grad(), self._plain() as (hf_model, blocks):
            return record(hf_model, blocks, self._tokens, self._first_state)

    def _plain(self) -> AbstractContextManager[tuple[nn.Module, nn.ModuleList]]:
        """What runs the blocks without patches inside."""
        if self.engine == "resumed":
            return self._model.plain_forward.lent()
        return nullcontext((self._model.original_model, _blocks_of(self._model)))

    def _require_that_it_resumes(self) -> None:
        """Resume the run without patches in the middle, and fall back if that is another one."""
        n_layers, start = len(self.states) - 1, len(self._tokens) // 2
        layer = n_layers // 2
        try:
            with torch.no_grad(), ONE_AT_A_TIME:
                again = self._blocks(self.states[layer, start:][None], layer, n_layers - 1)[0]
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as e:
            self.why = f"a resumed run ends in {type(e).__name__}: {e}"
        else:
            worst = (again - self.states[-1, start:]).abs().max().item()
            size = self.states[-1].abs().max().item()
            if worst <= _TOLERANCE[self.states.dtype] * size:
                return
            self.why = f"a resumed run differs from the recorded one by {worst:.2g} of {size:.2g}"
        self.engine = "whole runs"
        self._recording = self._record()
        self.states = self._recording.states

    def batches(
        self, cells: Sequence[Cell], positions: Sequence[int]
    ) -> Iterator[tuple[list[int], Float[Tensor, "batch n_positions d_model"]]]:
        """Patched runs, a batch at a time.

        Args:
            cells: the patches of each run.
            positions: positions to look at.

        Yields:
            Indices into `cells`, and the residual stream after the last block at `positions`.

        Raises:
            ValueError: a site that the model does not have; positions or values that do not fit.
        """  # noqa: DOC502 (raised by _check)
        self._check(cells, positions)
        cells = [[_before_a_block(patch) for patch in cell] for cell in cells]
        room = self._memory - self._recording.n_bytes
        room -= sum(patch.values.nbytes for cell in cells for patch in cell)
        for structure, members in _by_structure(cells).items():
            while members:
                n = self._batch_size(len(self._tokens) - _start(cells[members[0]]), room)
                batch, members = members[:n], members[n:]
                with ONE_AT_A_TIME, torch.no_grad():
                    states = self._run([cells[j] for j in batch], structure, positions)
                yield batch, states

    def final_states(
        self, cells: Sequence[Cell], positions: Sequence[int]
    ) -> Float[Tensor, "n_cells n_positions d_model"]:
        """Patched runs, all at once.

        Args:
            cells: the patches of each run.
            positions: positions to look at.

        Returns:
            Residual stream after the last block, in the order of `cells`.
        """
        out = self.states.new_empty(len(cells), len(positions), self.states.shape[-1])
        for batch, states in self.batches(cells, positions):
            out[batch] = states
        return out

    def _batch_size(self, n_later: int, room: float) -> int:
        """Copies that fit into some bytes, and no more than make the products large."""
        if self.engine == "whole runs":
            return 1
        cfg, n = self._model.cfg, len(self._tokens)
        d_attention = cfg.n_heads * cfg.d_head
        d_mlp = cfg.d_mlp or 4 * cfg.d_model
        of_later = n_later * (6 * cfg.d_model + 3 * d_mlp + 4 * d_attention)
        of_keys = 4 * n * d_attention  # keys and values, once more for each query head
        patterns = 3 * cfg.n_heads * n_later * n if self.engine != "resumed" else n_later * n
        a_copy = (of_later + of_keys + patterns) * self.states.element_size()
        wanted = _ROWS[self._tokens.device.type == "cpu"] / n_later
        return max(1, int(min(room / (_SLACK * a_copy), wanted)))

    def _run(
        self, cells: list[Cell], structure: "_Structure", positions: Sequence[int]
    ) -> Float[Tensor, "batch n_positions d_model"]:
        """One batch of cells with patches in the same sites."""
        n_layers = len(self.states) - 1
        start = 0
        if self.engine != "whole runs":
            start = min(map(_start, cells))
        layer = 0 if self.engine == "whole runs" else min(s.layer for s in structure)
        state = self.states[layer, start:].expand(len(cells), -1, -1).clone()
        changed = sorted({s.layer for s in structure})
        while layer <= n_layers:
            for cell, row in zip(cells, state, strict=True):
                for patch in cell:
                    if patch.site.kind == "resid_pre" and patch.site.layer == layer:
                        row[patch.positions.to(row.device) - start] = patch.values.to(row)
            if layer == n_layers:
                break
            inner = [[p for p in c if p.site.layer == layer and _is_inside(p)] for c in cells]
            if any(inner):
                state = self._hooked_block(state, layer, inner)
                layer += 1
                continue
            following = [at for at in changed if at > layer] or [n_layers]
            state = self._blocks(state, layer, following[0] - 1)
            layer = following[0]
        return self._at(state, start, positions)

    def _at(
        self, state: Float[Tensor, "batch later d_model"], start: int, positions: Sequence[int]
    ) -> Float[Tensor, "batch n_positions d_model"]:
        """What stands at some positions; those before the first change are as they were."""
        known = self.states[-1].expand(len(state), -1, -1)[:, list(positions)].clone()
        later = [(i, p - start) for i, p in enumerate(positions) if p >= start]
        if later:
            places, offsets = (list(x) for x in zip(*later, strict=True))
            known[:, places] = state[:, offsets]
        return known

    def _blocks(self, state: Tensor, first: int, last: int) -> Tensor:
        with self._plain() as (hf_model, blocks):
            return resume(hf_model, blocks, self._recording, state, first=first, last=last)

    def _hooked_block(self, state: Tensor, layer: int, patches: list[list[Patch]]) -> Tensor:
        start = len(self._tokens) - state.shape[1]
        hooks = inner_hooks(self._model, state, patches, start)
        with self._model.hooks(fwd_hooks=hooks):
            model, blocks = self._model.original_model, _blocks_of(self._model)
            return resume(model, blocks, self._recording, state, first=layer, last=layer)

    def _check(self, cells: Sequence[Cell], positions: Sequence[int]) -> None:
        patches = [patch for cell in cells for patch in cell]
        if not cells or not all(len(cell) for cell in cells):
            raise ValueError(
                "PatchedRuns: got a cell without a patch, expected at least one in each."
            )
        check_sites(self._model, [p.site for p in patches], "PatchedRuns")
        n = len(self._tokens)
        looked_at = torch.tensor(list(positions))
        for where in [looked_at, *(p.positions for p in patches)]:
            if not len(where) or where.min() < 0 or where.max() >= n:
                raise ValueError(
                    f"PatchedRuns: got positions {where.tolist()} of a run of {n} tokens, expected "
                    f"at least one, from 0 to {n - 1}."
                )
        for patch in patches:
            self._check_values(patch)

    def _check_values(self, patch: Patch) -> None:
        cfg, site = self._model.cfg, patch.site
        width = cfg.d_model
        if site.kind in ("q", "k", "v", "z"):
            width = cfg.d_head
        elif site.kind == "pattern":
            width = len(self._tokens)
        of_all = site.kind in ("q", "k", "v", "z", "pattern") and site.head is None
        heads = (n_heads(self._model, site.kind),) if of_all else ()
        wanted = (len(patch.positions), *heads, width)
        if len(patch.positions.unique()) != len(patch.positions):
            raise ValueError(
                f"PatchedRuns: got the positions {patch.positions.tolist()} of {site.label}, "
                "expected no position twice."
            )
        if tuple(patch.values.shape) != wanted:
            raise ValueError(
                f"PatchedRuns: got values of shape {tuple(patch.values.shape)} for "
                f"{len(patch.positions)} positions of {site.label}, expected {wanted}."
            )


_Structure = tuple[Site, ...]
"""Sites, heads apart, in which a cell has patches."""


def _check_run(model: LensModel, tokens: Tensor, memory_mb: float, engine: str | None) -> None:
    if not isinstance(tokens, Tensor) or tokens.is_floating_point() or tokens.ndim != 1:
        raise TypeError(
            f"PatchedRuns: got {type(tokens).__name__} as tokens, expected one run of token ids "
            "as a tensor [pos], such as sequence.tokens."
        )
    if model.training or not len(tokens) or not memory_mb > 0:
        raise ValueError(
            f"PatchedRuns: got {len(tokens)} tokens, memory_mb={memory_mb} and a model in "
            f"{'training' if model.training else 'evaluation'} mode, expected at least one token, "
            "a memory above 0, and evaluation mode."
        )
    d_vocab = int(model.W_U.shape[1])
    if int(tokens.min()) < 0 or int(tokens.max()) >= d_vocab:
        raise ValueError(
            f"PatchedRuns: got token ids from {int(tokens.min())} to {int(tokens.max())}, expected "
            f"0 to {d_vocab - 1}. Were they made for another model?"
        )
    if engine not in (None, "whole runs"):
        raise ValueError(
            f"PatchedRuns: got engine={engine!r}, expected 'whole runs', or None for the fastest "
            "that shows everything that acts on the model."
        )


def _by_structure(cells: Sequence[Cell]) -> dict[_Structure, list[int]]:
    """Indices of cells with patches in the same sites, by where their first patch is."""
    found: dict[_Structure, list[int]] = {}
    for i, cell in enumerate(cells):
        structure = tuple(sorted({Site(p.site.kind, p.site.layer) for p in cell}))
        found.setdefault(structure, []).append(i)
    for members in found.values():
        members.sort(key=lambda i: _start(cells[i]))
    return found


def _start(cell: Cell) -> int:
    """The first position that is changed."""
    return min(int(patch.positions.min()) for patch in cell)


def _before_a_block(patch: Patch) -> Patch:
    """What leaves a block is what goes into the next one."""
    if patch.site.kind != "resid_post":
        return patch
    return Patch(Site("resid_pre", patch.site.layer + 1), patch.positions, patch.values)


def _is_inside(patch: Patch) -> bool:
    return patch.site.kind != "resid_pre"


def engine_of(model: Any) -> tuple[Engine, str]:
    """The fastest engine for a model as it is now; a run that does not resume has whole runs.

    Args:
        model: the model.

    Returns:
        The engine, and why it is no faster one; empty if it is the fastest.
    """
    hooked = sorted({str(h.name) for h in model.hook_dict.values() if h.fwd_hooks})
    if hooked:
        return "whole runs", f"there are hooks on {hooked[:4]}"
    plain = getattr(model, "plain_forward", None)
    if not isinstance(plain, PlainForward):
        return "resumed, hooked", "a bridge that slm_lens.load did not make has no plain model"
    if plain.impossible is not None:
        return "resumed, hooked", plain.impossible
    if model.compatibility_mode:
        return "resumed, hooked", "it is in compatibility mode"
    reason = plain.why_not(model)
    return ("resumed", "") if reason is None else ("whole runs", reason)


def _blocks_of(model: Any) -> nn.ModuleList:
    """The decoder blocks of the model inside a bridge."""
    return model.original_model.get_submodule(model.adapter.component_mapping["blocks"].name)
