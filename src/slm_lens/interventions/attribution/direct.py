"""Direct logit attribution: what each part of the last stream adds to a difference of logits.

The last stream is the sum of the embeddings and of what all heads and MLPs wrote at that position.
Through the final norm with its scale fixed, each summand has its part of the logits
(`lens.components`), and the parts sum to the value itself:

``w . ln_final(h) + b = sum over parts c of w . gain * centre(c) / scale(h)  +  constant``

Only the scale is not attributed: a part that makes the stream longer makes all others count less.
What a part does through later layers is not in it either; nodes and edges have that.

Heads read from other positions, so each head's part is divided further: position s adds
``pattern[t, s] v[s] . W_O``, and the positions of a word together make the word's part.

Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits". Words, units and
modalities are ours.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens._console import shown_steps
from slm_lens.interventions.attribution._pair_task import provenance_if_known
from slm_lens.interventions.attribution._sources import head_sources
from slm_lens.interventions.attribution.direct_result import DirectAttribution, Part
from slm_lens.interventions.attribution.logit_directions import LogitDirection
from slm_lens.lens.components import ComponentStack, component_stack
from slm_lens.lens.jacobian import DifferentiableModel
from slm_lens.sequence.utterance import Utterance


def attribute_directly(
    model: DifferentiableModel,
    utterances: Sequence[Utterance],
    directions: LogitDirection | Sequence[LogitDirection],
    *,
    positions: Sequence[int] | None = None,
    progress: bool = True,
) -> DirectAttribution:
    """Divide a difference of logits among embeddings, heads, MLPs, and the words that heads read.

    Args:
        model: the model, in evaluation mode; it is not changed.
        utterances: what to read.
        directions: what is divided, one for all utterances or one for each.
        positions: position at which each utterance is read; None for its last one.
        progress: show a progress bar, if the standard output is a terminal.

    Returns:
        The parts.

    Raises:
        ValueError: training mode, no utterance or two of one name, as many directions or positions
            as there are not utterances, a position outside its utterance, or a model whose stream
            is not the sum of what its heads and MLPs write.
    """
    many = [directions] * len(utterances) if isinstance(directions, LogitDirection) else directions
    where = [len(u.sequence) - 1 for u in utterances] if positions is None else list(positions)
    names = [u.name for u in utterances]
    if not names or len(set(names)) != len(names):
        raise ValueError(
            f"attribute_directly: got utterances named {names[:5]}, expected at least one, each "
            "with a name of its own."
        )
    if not len(many) == len(where) == len(names):
        raise ValueError(
            f"attribute_directly: got {len(names)} utterances, {len(many)} directions and "
            f"{len(where)} positions, expected as many of each."
        )
    with shown_steps(utterances, "attributing directly", shown=progress) as each:
        found = [_parts(model, *one) for one in zip(each, many, where, strict=True)]
    return DirectAttribution(
        utterances=tuple(utterances),
        directions=tuple(direction.name for direction in many),
        positions=tuple(where),
        parts=found[0][0],
        scores=torch.stack([scores for _, scores, _ in found]),
        sources=tuple(sources for _, _, sources in found),
        provenance=provenance_if_known(model),
    )


def _parts(
    model: DifferentiableModel, utterance: Utterance, direction: LogitDirection, at: int
) -> tuple[tuple[Part, ...], Float[Tensor, " n_parts"], Float[Tensor, "layer head source"]]:
    """Parts of one utterance, their scores, and where heads have theirs from."""
    tokens = utterance.sequence.tokens[None]
    whole = component_stack(model, tokens, "decomposed", positions=[at])
    heads = component_stack(model, tokens, "heads", positions=[at])
    of_whole = dict(zip(whole.labels, _project(whole, direction), strict=True))
    n_layers, n_heads = model.cfg.n_layers, model.cfg.n_heads
    of_heads = _project(heads, direction).view(n_layers, n_heads)
    parts: list[tuple[Part, Tensor]] = [(Part("embed", None, None), of_whole["embed"])]
    if "pos_embed" in of_whole:
        parts.append((Part("pos_embed", None, None), of_whole["pos_embed"]))
    for layer in range(n_layers):
        own = of_heads[layer]
        parts += [(Part("head", layer, head), own[head]) for head in range(n_heads)]
        parts.append((Part("attn_bias", layer, None), of_whole[f"{layer}_attn_out"] - own.sum()))
        parts.append((Part("mlp", layer, None), of_whole[f"{layer}_mlp_out"]))
    parts.append((Part("constant", None, None), _constant(whole, direction)))
    sources = head_sources(model, utterance.sequence.tokens, at, direction, heads, of_heads)
    scores = torch.stack([score for _, score in parts])
    return tuple(part for part, _ in parts), scores.cpu(), sources.cpu()


def _project(stack: ComponentStack, direction: LogitDirection) -> Float[Tensor, " component"]:
    normed = stack.normed()[:, 0, 0]
    return normed @ direction.vector.to(normed.device)


def _constant(stack: ComponentStack, direction: LogitDirection) -> Tensor:
    """What belongs to no part: the bias of the unembedding and the offset of the norm."""
    vector, offset = direction.vector, stack.final_norm.offset
    constant = vector.new_tensor(direction.bias)
    return constant if offset is None else constant + offset.to(vector.device) @ vector
