"""States of many utterances at some layers, with what stands at each position."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from slm_lens.lens.model import LensModel
from slm_lens.lens.states import Forward, ForwardUsed, choose_forward, residual_stack
from slm_lens.sequence.batch import pad_batch
from slm_lens.sequence.utterance import Utterance
from slm_lens.vocab import TOKEN_KINDS, TokenKind


@dataclass(frozen=True, eq=False)
class PositionStates:
    """The residual stream at positions of some utterances, one utterance after the other.

    Attributes:
        states: residual stream, float32, on the CPU.
        layers: layers along the first axis, as in `residual_stack`.
        utterances: what was read.
        utterance: number of each position's utterance.
        position: place of each position in its utterance.
        kind: kind of each position's token, a number of `TOKEN_KINDS`.
        forward: which forward pass gave the states.
    """

    states: Float[Tensor, "layer n d_model"]
    layers: tuple[int, ...]
    utterances: tuple[Utterance, ...]
    utterance: Int[Tensor, " n"]
    position: Int[Tensor, " n"]
    kind: Int[Tensor, " n"]
    forward: ForwardUsed

    def __len__(self) -> int:
        return len(self.kind)

    def at(self, layer: int) -> Float[Tensor, "n d_model"]:
        """States of one layer.

        Args:
            layer: as in `residual_stack`.

        Returns:
            One row for each position.

        Raises:
            LookupError: the layer was not read.
        """
        if layer not in self.layers:
            raise LookupError(
                f"PositionStates.at: got layer {layer}, expected one of {self.layers}."
            )
        return self.states[self.layers.index(layer)]

    def of_kind(self, *kinds: TokenKind) -> Bool[Tensor, " n"]:
        """Where tokens of some kinds stand.

        Args:
            kinds: such as ``"speech"``.

        Returns:
            True at their positions.
        """
        return torch.isin(self.kind, torch.tensor([TOKEN_KINDS.index(k) for k in kinds]))


def position_states(
    model: LensModel,
    utterances: Sequence[Utterance],
    layers: Sequence[int],
    *,
    at: Int[Tensor, " n_chosen"] | None = None,
    batch_size: int = 8,
    forward: Forward = "auto",
) -> PositionStates:
    """Read the residual stream of utterances, spoken, written or mixed.

    Args:
        model: the model, in evaluation mode.
        utterances: what it reads; those of like length side by side make the least padding.
        layers: as in `residual_stack`, each once.
        at: numbers of the positions that are kept, rising, counted through all utterances
            (`balanced_positions`); None for all.
        batch_size: utterances in one forward pass.
        forward: as in `residual_stack`.

    Returns:
        States of those positions.

    Raises:
        ValueError: no utterance or layer, a layer twice or that the model does not have, positions
            that do not rise or are not there, or no utterance at a time.
    """
    n_layers = int(model.cfg.n_layers)
    wanted = tuple(layers)
    in_model = all(0 <= layer <= n_layers for layer in wanted)
    if not utterances or not wanted or len(set(wanted)) != len(wanted) or not in_model:
        raise ValueError(
            f"position_states: got {len(utterances)} utterances and the layers {wanted}, expected "
            f"at least one utterance, and layers from 0 to {n_layers}, each once."
        )
    if batch_size < 1:
        raise ValueError(f"position_states: got batch_size={batch_size}, expected at least 1.")
    lengths = torch.tensor([len(u.sequence) for u in utterances])
    keeps = _kept(at, int(lengths.sum()))
    used = choose_forward(model, forward, "position_states")
    parts, begin = [], 0
    for first in range(0, len(utterances), batch_size):
        sequences = [u.sequence for u in utterances[first : first + batch_size]]
        n_read = sum(map(len, sequences))
        kept, begin = keeps[begin : begin + n_read], begin + n_read
        if not kept.any():
            continue
        batch = pad_batch(sequences, pad_token=int(sequences[0].tokens[0]))
        stack = residual_stack(model, batch.tokens, batch.attention_mask, forward=used)
        real = stack[list(wanted)][:, batch.attention_mask.to(stack.device)]
        parts.append(real[:, kept.to(real.device)].float().cpu())
    return PositionStates(
        states=torch.cat(parts, 1),
        layers=wanted,
        utterances=tuple(utterances),
        utterance=torch.arange(len(lengths)).repeat_interleave(lengths)[keeps],
        position=torch.cat([torch.arange(n) for n in lengths.tolist()])[keeps],
        kind=_kinds(utterances)[keeps],
        forward=used,
    )


def _kept(at: Tensor | None, n: int) -> Bool[Tensor, " n"]:
    if at is None:
        return torch.ones(n, dtype=torch.bool)
    if not len(at) or at[0] < 0 or at[-1] >= n or (at.diff() <= 0).any():
        raise ValueError(
            f"position_states: got {len(at)} positions in at, expected at least one, rising, from "
            f"0 to {n - 1}. balanced_positions of the same utterances gives such."
        )
    kept = torch.zeros(n, dtype=torch.bool)
    kept[at] = True
    return kept


def _kinds(utterances: Sequence[Utterance]) -> Int[Tensor, " n"]:
    return torch.tensor([TOKEN_KINDS.index(k) for u in utterances for k in u.sequence.kinds])


def balanced_positions(
    utterances: Sequence[Utterance],
    *,
    speech_share: float = 0.5,
    n_positions: int | None = None,
    seed: int,
) -> Int[Tensor, " n_chosen"]:
    """Positions of speech and text in a given proportion, drawn at random.

    Args:
        utterances: what to draw from.
        speech_share: share of speech, above 0 and below 1.
        n_positions: how many; None for as many as there are in this proportion.
        seed: of the draw.

    Returns:
        Numbers of positions, counted through all utterances, rising.

    Raises:
        ValueError: the share is out of range, or there are not so many positions of a modality.
    """
    if not 0 < speech_share < 1:
        raise ValueError(
            f"balanced_positions: got speech_share={speech_share}, expected above 0 and below 1."
        )
    kinds = _kinds(utterances)
    speech = (kinds == TOKEN_KINDS.index("speech")).nonzero()[:, 0]
    text = (kinds == TOKEN_KINDS.index("text")).nonzero()[:, 0]
    most = int(min(len(speech) / speech_share, len(text) / (1 - speech_share)))
    n_drawn = most if n_positions is None else n_positions
    n_speech = round(n_drawn * speech_share)
    if n_drawn > most or n_speech < 1 or n_drawn - n_speech < 1:
        raise ValueError(
            f"balanced_positions: got {len(speech)} positions of speech and {len(text)} of text "
            f"for n_positions={n_drawn} with speech_share={speech_share}, expected at least one of "
            f"either, and at most {most} in all. Read more utterances, written ones too."
        )
    generator = torch.Generator().manual_seed(seed)
    drawn = [
        of[torch.randperm(len(of), generator=generator)[:n]]
        for of, n in ((speech, n_speech), (text, n_drawn - n_speech))
    ]
    return torch.cat(drawn).sort().values
