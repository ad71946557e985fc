"""Which tokens are nearest to a word's own, by the cosine of their rows after centring.

The rows of one kind of token share a large common part, which makes all their cosines large; the
mean row of the candidates is therefore taken away first.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

_ROWS_AT_ONCE = 8192


@torch.no_grad()
def token_neighbours(
    rows: Float[Tensor, "d_vocab d_model"],
    candidates: Int[Tensor, " n_candidates"],
    own: Sequence[Sequence[int]],
    *,
    n: int,
) -> tuple[tuple[int, ...], ...]:
    """The candidates that are nearest to the tokens of each word.

    Args:
        rows: one vector for each token, such as the embedding or the unembedding.
        candidates: token ids among which neighbours are looked for, such as those of text.
        own: for each word the ids of its own tokens; none for a word that has no token.
        n: how many neighbours.

    Returns:
        For each word `n` token ids (fewer if there are not so many), the nearest first: those of
        the highest cosine with any of its own tokens, which are no neighbours themselves. Of equal
        cosines the one that stands first among the candidates. None for a word without tokens.

    Raises:
        ValueError: no candidate, an id outside the rows, or `n` below 1.

    Source:
        Ours; centring as in Mu and Viswanath 2018, arXiv:1702.01417, of which only the mean is
        taken away.
    """
    ids = [t for word in own for t in word]
    outside = [t for t in (*ids, *candidates.tolist()) if not 0 <= t < len(rows)]
    if n < 1 or outside or not len(candidates):
        raise ValueError(
            f"token_neighbours: got n={n}, {len(candidates)} candidates and the ids {outside[:4]} "
            f"outside {len(rows)} rows, expected n >= 1, at least one candidate and ids of rows."
        )
    parts = candidates.split(_ROWS_AT_ONCE)
    mean = torch.stack([rows[p.to(rows.device)].double().sum(0) for p in parts]).sum(0)
    mean = mean / len(candidates)
    targets = _unit(rows, torch.tensor(ids, dtype=torch.int64), mean)
    has_token = [w for w, word in enumerate(own) if word]
    kept = torch.full((len(own), n), -torch.inf)
    kept_ids = torch.full((len(own), n), -1)
    for part in parts:
        each = (targets @ _unit(rows, part, mean).T).cpu()
        cosines = torch.full((len(own), len(part)), -torch.inf)
        for w, of_word in zip(has_token, each.split([len(own[w]) for w in has_token]), strict=True):
            cosines[w] = of_word.amax(0)
        for w, word in enumerate(own):
            cosines[w, torch.isin(part, torch.tensor(word, dtype=torch.int64))] = -torch.inf
        kept = torch.cat([kept, cosines], 1)
        kept_ids = torch.cat([kept_ids, part.expand(len(own), -1)], 1)
        order = kept.argsort(dim=1, descending=True, stable=True)[:, :n]
        kept, kept_ids = kept.gather(1, order), kept_ids.gather(1, order)
    pairs = zip(kept, kept_ids, strict=True)
    return tuple(tuple(of_one[best > -torch.inf].tolist()) for best, of_one in pairs)


def _unit(
    rows: Float[Tensor, "d_vocab d_model"],
    ids: Int[Tensor, " n"],
    mean: Float[Tensor, " d_model"],
) -> Float[Tensor, "n d_model"]:
    """Rows less the mean, of length 1, float32."""
    centred = rows[ids.to(rows.device)].double() - mean
    return torch.nn.functional.normalize(centred, dim=1).float()
