"""The vocabulary in parts, and the sets of parts that one ranks or normalises within."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from slm_lens.vocab import SpeechTextVocab

OTHER = "other"
"""Markers, control tokens and rows that no token uses."""


@dataclass(frozen=True, eq=False)
class VocabParts:
    """Disjoint parts of the vocabulary that together are all of it.

    Attributes:
        part_of: index into `names` of every token.
        names: names of the parts, such as ``("text", "units", "other")``.
        subsets: names of parts by the name of what one ranks within; ``"full"`` is everything.
    """

    part_of: Int[Tensor, " d_vocab"]
    names: tuple[str, ...]
    subsets: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        unknown = {p for parts in self.subsets.values() for p in parts} - set(self.names)
        outside = (self.part_of < 0) | (self.part_of >= len(self.names))
        if unknown or outside.any() or not len(self.part_of):
            raise ValueError(
                f"VocabParts: got subsets of the parts {sorted(unknown)} and {int(outside.sum())} "
                f"of {len(self.part_of)} tokens in no part, expected parts out of {self.names}, "
                "and every token in one of them."
            )

    @property
    def d_vocab(self) -> int:
        """How many tokens there are."""
        return len(self.part_of)

    def ids(self, name: str) -> Int[Tensor, " n"]:
        """Rising token ids of a part.

        Args:
            name: the part.

        Returns:
            Its ids.
        """
        return (self.part_of == self.names.index(name)).nonzero()[:, 0]

    def chosen(self, subsets: tuple[str, ...] | None) -> tuple[str, ...]:
        """Names of subsets.

        Args:
            subsets: some; None for all.

        Returns:
            Their names.
        """
        return tuple(self.subsets) if subsets is None else subsets

    def within(self, subset: str) -> Int[Tensor, " n_parts"]:
        """Indices of the parts of a subset.

        Args:
            subset: its name.

        Returns:
            Indices into `names`.

        Raises:
            ValueError: there is no such subset.
        """
        if subset not in self.subsets:
            raise ValueError(
                f"readout: got within={subset!r}, expected some of {tuple(self.subsets)}."
            )
        return torch.tensor([self.names.index(part) for part in self.subsets[subset]])


def vocab_parts(vocab: SpeechTextVocab) -> VocabParts:
    """Text, each speech stream, and the rest.

    Args:
        vocab: who owns which row.

    Returns:
        The parts ``"text"``, the streams by their names, and ``"other"``, those that have tokens;
        and the subsets ``"text"``, ``"speech"`` (all streams) and ``"full"``, likewise.

    Source:
        Ours.
    """
    owners = {"text": vocab.text} | {s: ids for s, ids in vocab.streams.items()}
    owners = {name: torch.tensor(list(ids)) for name, ids in owners.items() if len(ids)}
    part_of = torch.full((vocab.d_vocab,), len(owners))
    for i, ids in enumerate(owners.values()):
        part_of[ids] = i
    names = (*owners, *([OTHER] if (part_of == len(owners)).any() else []))
    streams = tuple(name for name in owners if name != "text")
    subsets = {"text": ("text",) * ("text" in owners), "speech": streams, "full": names}
    return VocabParts(part_of, names, {s: parts for s, parts in subsets.items() if parts})


def one_part(d_vocab: int) -> VocabParts:
    """A vocabulary of which nothing is known.

    Args:
        d_vocab: how many tokens there are.

    Returns:
        One part, and the subset ``"full"``.
    """
    return VocabParts(torch.zeros(d_vocab, dtype=torch.int64), ("all",), {"full": ("all",)})
