"""The residual stream as a graph: who writes into it, who reads it, and in which order.

| writer | writes | reader | reads |
|---|---|---|---|
| `embed` | what goes into the first block | `q` of a head | the stream before the block |
| head | ``z . W_O`` | `k`, `v` of a group | the same |
| MLP | its output | MLP | the stream behind the block's attention |
| | | `logits` | the last stream |

Learned positions (OPT, GPT-2) belong to `embed`, and are moved with it to other positions.

The stream is a sum, so a reader's input is the sum of what was written before it, and an edge is
one summand of one reader's input. A group of query heads shares its keys and values, so it reads
once: k and v have as many readers as there are groups.

Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; readers by group
are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

WriterKind = Literal["embed", "head", "mlp"]
ReaderKind = Literal["q", "k", "v", "mlp", "logits"]


@dataclass(frozen=True, order=True)
class StreamWriter:
    """Something that adds to the residual stream.

    Attributes:
        kind: what.
        layer: block, counted from 0; -1 for the embeddings.
        head: query head, counted from 0; None for what has none.
    """

    kind: WriterKind
    layer: int = -1
    head: int | None = None

    @property
    def label(self) -> str:
        """Short name, such as ``L3H1``."""
        if self.kind == "embed":
            return "embed"
        return f"L{self.layer} mlp" if self.head is None else f"L{self.layer}H{self.head}"


@dataclass(frozen=True, order=True)
class StreamReader:
    """Something that reads the residual stream.

    Attributes:
        kind: what.
        layer: block, counted from 0; the number of blocks for the logits.
        head: query head of ``q``, group of ``k`` and ``v``, counted from 0; None for others.
    """

    kind: ReaderKind
    layer: int
    head: int | None = None

    @property
    def label(self) -> str:
        """Short name, such as ``L3H1 q`` or ``L3G0 k``."""
        if self.kind == "logits":
            return "logits"
        if self.head is None:
            return f"L{self.layer} mlp"
        return f"L{self.layer}{'H' if self.kind == 'q' else 'G'}{self.head} {self.kind}"


Edge = tuple[StreamWriter, StreamReader]


@dataclass(frozen=True, eq=False)
class ResidualGraph:
    """All writers and readers of a model.

    Attributes:
        writers: in the order in which they write.
        readers: in the order in which they read.
        edges: True where the writer writes before the reader reads.
    """

    writers: tuple[StreamWriter, ...]
    readers: tuple[StreamReader, ...]
    edges: Bool[Tensor, "n_writers n_readers"]

    @property
    def n_edges(self) -> int:
        """How many there are."""
        return int(self.edges.sum())

    def writers_of(self, layer: int) -> slice:
        """Where the writers of a block are; -1 for the embeddings."""
        return _of_layer([writer.layer for writer in self.writers], layer)

    def readers_of(self, layer: int) -> slice:
        """Where the readers of a block are; the number of blocks for the logits."""
        return _of_layer([reader.layer for reader in self.readers], layer)

    def mask(self, edges: Sequence[Edge], caller: str) -> Bool[Tensor, "n_writers n_readers"]:
        """True for the given edges.

        Args:
            edges: some edges.
            caller: the public function, to begin messages with.

        Returns:
            The mask.

        Raises:
            ValueError: an edge that is not in the graph.
        """
        chosen = torch.zeros_like(self.edges)
        rows = {writer: i for i, writer in enumerate(self.writers)}
        columns = {reader: i for i, reader in enumerate(self.readers)}
        for writer, reader in edges:
            row, column = rows.get(writer), columns.get(reader)
            if row is None or column is None or not self.edges[row, column]:
                raise ValueError(
                    f"{caller}: got the edge {writer.label} -> {reader.label}, expected one of the "
                    f"model's {self.n_edges}: a writer that writes before the reader reads. Keys "
                    "and values are counted by group. See residual_graph(model)."
                )
            chosen[row, column] = True
        return chosen


def residual_graph(model: Any) -> ResidualGraph:
    """Writers, readers and edges of a model.

    Args:
        model: the model.

    Returns:
        The graph.

    Raises:
        ValueError: its blocks are not an attention and then an MLP, each behind a norm.
    """  # noqa: DOC502 (raised by _require_two_halves)
    n_layers, n_heads = model.cfg.n_layers, model.cfg.n_heads
    n_groups = model.cfg.n_key_value_heads or n_heads
    writers, readers = [StreamWriter("embed")], []
    for layer in range(n_layers):
        _require_two_halves(model, layer)
        readers += [StreamReader("q", layer, head) for head in range(n_heads)]
        readers += [StreamReader("k", layer, group) for group in range(n_groups)]
        readers += [StreamReader("v", layer, group) for group in range(n_groups)]
        readers.append(StreamReader("mlp", layer))
        writers += [StreamWriter("head", layer, head) for head in range(n_heads)]
        writers.append(StreamWriter("mlp", layer))
    readers.append(StreamReader("logits", n_layers))
    edges = torch.tensor([[writes_before(w, r) for r in readers] for w in writers])
    return ResidualGraph(tuple(writers), tuple(readers), edges)


def writes_before(writer: StreamWriter, reader: StreamReader) -> bool:
    """Whether they make an edge: of one block, the MLP reads what its heads wrote."""
    same = writer.kind == "head" and reader.kind == "mlp" and writer.layer == reader.layer
    return writer.layer < reader.layer or same


def _of_layer(layers: list[int], layer: int) -> slice:
    start = layers.index(layer)
    return slice(start, start + layers.count(layer))


def _require_two_halves(model: Any, layer: int) -> None:
    names = ["ln1.hook_out", "ln2.hook_out", "hook_resid_mid", "attn.hook_q", "attn.hook_z"]
    missing = [n for n in names if f"blocks.{layer}.{n}" not in model.hook_dict]
    if missing:
        raise ValueError(
            f"residual_graph: got a model whose block {layer} has no {', '.join(missing)}, "
            "expected an attention and then an MLP, each behind a norm of its own. Blocks whose "
            "attention and MLP read the same stream have other edges; nodes can be scored."
        )
