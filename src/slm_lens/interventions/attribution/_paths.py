"""Runs of one pair in which some readers get another input than the stream has for them."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.interventions.attribution._pair_task import PairTask
from slm_lens.interventions.attribution._runs import record
from slm_lens.interventions.attribution._writers import head_vectors, require_sum, writer_hooks
from slm_lens.interventions.attribution.graph import Edge, StreamReader, StreamWriter
from slm_lens.interventions.runs.patched_runs import Patch, PatchedRuns
from slm_lens.interventions.site import Site
from slm_lens.lens.jacobian import DifferentiableModel

# Largest difference between what a reader makes of the recorded stream and what the run had, over
# its size: rounding of one projection or MLP. A key that is scaled (Falcon-H1) is off by its scale.
_TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


class PathRuns:
    """Path patching of one pair.

    Args:
        model: the model.
        task: the pair; outputs of its source are sent into its target.

    Attributes:
        before: metric of the target run without changes.

    Raises:
        ValueError: the model's stream is not the sum of what its writers write.
    """

    def __init__(self, model: DifferentiableModel, task: PairTask) -> None:
        self._model, self._task = model, task
        n_layers = model.cfg.n_layers
        last = f"blocks.{n_layers - 1}.hook_resid_post"
        names = [*writer_hooks(n_layers), last]
        inner = ("hook_resid_pre", "hook_resid_mid", "attn.hook_q", "attn.hook_k", "attn.hook_v")
        inputs = [f"blocks.{layer}.{name}" for layer in range(n_layers) for name in inner]
        self._target = record(model, task.target.tokens, dict.fromkeys([*names, *inputs]))
        self._changes = {n: task.difference(task.given[n], self._target[n]) for n in names}
        require_sum(model, self._target, self._target[last], "patch_paths")
        self._runs = PatchedRuns(model, task.target.tokens)
        self._final = self._runs.states[-1, list(task.positions)]
        self.before = float(task.values(self._final[None])[0])

    def effects(self, paths: Sequence[tuple[Sequence[Edge], Sequence[int] | None]]) -> list[float]:
        """Effects of sets of edges, each set in a run of its own.

        Args:
            paths: edges of each run, and positions at which they carry the source's output; None
                for all.

        Returns:
            Metric with them, less the metric without.
        """
        cells, with_cell, on_top = [], [], []
        for i, (edges, positions) in enumerate(paths):
            patches, direct = [], torch.zeros_like(self._final)
            for reader in dict.fromkeys(reader for _, reader in edges):
                change = self._change([w for w, r in edges if r == reader], positions)
                if reader.kind == "logits":
                    direct = change[list(self._task.positions)].to(direct)
                else:
                    patches += self._patch(reader, change)
            on_top.append(direct)
            if patches:
                cells.append(patches)
                with_cell.append(i)
        final = self._final.expand(len(paths), -1, -1).clone()
        if cells:
            final[with_cell] = self._runs.final_states(cells, self._task.positions)
        values = self._task.values(final + torch.stack(on_top))
        return (values - self.before).tolist()

    def _change(
        self, senders: Sequence[StreamWriter], positions: Sequence[int] | None
    ) -> Float[Tensor, "pos d_model"]:
        """What the senders add to a reader's input."""
        vectors = []
        for writer in senders:
            if writer.kind == "embed":
                vectors.append(self._changes["blocks.0.hook_resid_pre"])
            elif writer.kind == "mlp":
                vectors.append(self._changes[f"blocks.{writer.layer}.hook_mlp_out"])
            else:
                z = self._changes[f"blocks.{writer.layer}.attn.hook_z"]
                vectors.append(head_vectors(self._model, z, writer.layer, writer.head)[0])
        total = torch.stack([v.float() for v in vectors]).sum(0)
        if positions is None:
            return total
        kept = torch.zeros_like(total)
        kept[list(positions)] = total[list(positions)]
        return kept

    def _patch(self, reader: StreamReader, change: Float[Tensor, "pos d_model"]) -> list[Patch]:
        """What a reader makes of its new input, where that differs."""
        where = change.any(-1).nonzero()[:, 0].cpu()
        if not len(where):
            return []
        block = f"blocks.{reader.layer}"
        stream = self._target[f"{block}.hook_resid_{'mid' if reader.kind == 'mlp' else 'pre'}"]
        rows = where.to(stream.device)
        if reader.kind == "mlp":
            made = self._mlp(reader.layer, stream + change.to(stream))
            return [Patch(Site("mlp_out", reader.layer), where, made[rows])]
        site = Site(cast(Any, reader.kind), reader.layer, reader.head)
        known = self._target[site.hook][rows, reader.head]
        _require_same(project(self._model, reader, stream[rows]), known, reader)
        new = stream[rows] + change[rows].to(stream)
        return [Patch(site, where, project(self._model, reader, new))]

    def _mlp(self, layer: int, stream: Float[Tensor, "pos d_model"]) -> Tensor:
        """Output of an MLP that reads another stream, from a run: not every MLP can be called."""
        name = f"blocks.{layer}.hook_mlp_out"

        def read(activation: Tensor, hook: Any) -> Tensor:  # noqa: ARG001 (given by name)
            return stream[None].to(activation)

        into = (f"blocks.{layer}.hook_resid_mid", read)  # the norm's input, off the stream
        return record(self._model, self._task.target.tokens, [name], hooks=[into])[name]


@torch.no_grad()
def project(
    model: DifferentiableModel, reader: StreamReader, stream: Float[Tensor, "n d_model"]
) -> Float[Tensor, "n d_head"]:
    """Query, key or value that a reader makes of states of the stream."""
    block = cast(Any, model.get_submodule(f"blocks.{reader.layer}"))
    weight = {"q": block.attn.W_Q, "k": block.attn.W_K, "v": block.attn.W_V}[reader.kind]
    bias = {"q": block.attn.b_Q, "k": block.attn.b_K, "v": block.attn.b_V}[reader.kind]
    made = block.ln1(stream[None])[0] @ weight[reader.head]
    return made if bias is None else made + bias[reader.head]


def _require_same(ours: Tensor, theirs: Tensor, reader: StreamReader) -> None:
    worst = (ours - theirs).abs().max().item()
    size = theirs.abs().max().item()
    if not worst <= _TOLERANCE[theirs.dtype] * size:
        raise ValueError(
            f"patch_paths: {reader.label} makes of its own input what is off by {worst:.3g} of "
            f"{size:.3g} from the run, expected a projection of the normed stream. Does the "
            "model scale it?"
        )
