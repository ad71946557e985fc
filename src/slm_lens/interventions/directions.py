"""Directions of the residual stream: of a contrast, of words, of a modality, at random.

| direction | is |
|---|---|
| `contrast` | mean state of some spans less the mean state of others |
| `word_directions` | what the final norm and the unembedding read for the tokens of words |
| `modality_direction` | the same of the mean text row less the mean speech row |
| `text_subspace` | the leading right singular vectors of all text rows, through the final norm |
| `random_directions` | Gaussian, of a given length: the control of any of them |

Any other vector of the width of the stream serves as well, such as the row of an SAE's decoder.
Rows of the unembedding are taken through the gain of the final norm (`reading_directions`), so
that the logit of the token grows along the direction, and is gone without it.

Source: difference of means, as Chang et al. 2026, arXiv:2606.11386, Eq. 6; the rest ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.interventions.pairs.moving import Span
from slm_lens.interventions.site import Site
from slm_lens.lens.final_norm import reading_directions
from slm_lens.lens.model import LensModel, SpeechTextModel, require_vocabulary
from slm_lens.lens.states import Forward, residual_stack
from slm_lens.readout.unembedding import TILE_COLUMNS
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.word_span import Modality

# Singular values below this share of the largest are rounding: float32 rows differ by 6e-8.
_DEPENDENT = 1e-5


@dataclass(frozen=True, eq=False)
class Contrast:
    """A difference of mean states at every layer.

    Attributes:
        vectors: the difference; layer ``l`` as in `residual_stack`: 0 is the embedding, ``l`` the
            output of block ``l - 1``, where ``Site("resid_post", l - 1)`` adds it.
        wanted: mean state of each wanted span.
        unwanted: mean state of each of the others.
    """

    vectors: Float[Tensor, "layer d_model"]
    wanted: Float[Tensor, "n_wanted layer d_model"]
    unwanted: Float[Tensor, "n_unwanted layer d_model"]

    def at(self, site: Site) -> Float[Tensor, " d_model"]:
        """The difference at a site.

        Args:
            site: ``resid_pre`` or ``resid_post`` of a block.

        Returns:
            The vector.

        Raises:
            ValueError: another site, or a block that the model does not have.
        """
        n_blocks = len(self.vectors) - 1
        if site.kind not in ("resid_pre", "resid_post") or not 0 <= site.layer < n_blocks:
            raise ValueError(
                f"Contrast.at: got {site.label}, expected resid_pre or resid_post of a block from "
                f"0 to {n_blocks - 1}."
            )
        return self.vectors[site.layer + (site.kind == "resid_post")]


def contrast(
    model: LensModel,
    wanted: Sequence[tuple[SpeechTextSequence, Span]],
    unwanted: Sequence[tuple[SpeechTextSequence, Span]],
    *,
    forward: Forward = "auto",
) -> Contrast:
    """Where the states of two sets of spans differ on average.

    Args:
        model: the model, in evaluation mode.
        wanted: runs, each with a half-open span; every run counts once, however long its span.
        unwanted: the same for what is to be left.
        forward: as in `residual_stack`.

    Returns:
        Mean of the wanted less mean of the unwanted, float32.

    Raises:
        ValueError: a set is empty, or a span leaves its run.
    """
    if not wanted or not unwanted:
        raise ValueError(
            f"contrast: got {len(wanted)} wanted and {len(unwanted)} unwanted runs, expected at "
            "least one of each."
        )
    means = []
    for runs in (wanted, unwanted):
        of_set = []
        for sequence, (start, end) in runs:
            if not 0 <= start < end <= len(sequence):
                raise ValueError(
                    f"contrast: got the span {(start, end)} of a run of {len(sequence)} tokens, "
                    f"expected 0 <= start < end <= {len(sequence)}."
                )
            stack = residual_stack(model, sequence.tokens[None], forward=forward)
            of_set.append(stack[:, 0, start:end].float().mean(1))
        means.append(torch.stack(of_set))
    return Contrast(means[0].mean(0) - means[1].mean(0), means[0], means[1])


def word_directions(model: LensModel, tokens: Sequence[int]) -> Float[Tensor, "n d_model"]:
    """What the final norm and the unembedding read for tokens.

    Args:
        model: the model.
        tokens: token ids, such as ``vocab.word_tokens(word, policy)``.

    Returns:
        One direction for each token, float32. The mean of them raises all; the mean of one word's
        less that of another's moves from one to the other.

    Raises:
        ValueError: there is no token, or one outside the vocabulary.
    """
    d_vocab = int(model.W_U.shape[1])
    if not tokens or min(tokens) < 0 or max(tokens) >= d_vocab:
        raise ValueError(
            f"word_directions: got the token ids {tuple(tokens)}, expected at least one, from 0 to "
            f"{d_vocab - 1}. A word of several pieces has no token under the policy 'whole_word'."
        )
    rows = model.W_U.detach().T[torch.tensor(list(tokens), device=model.W_U.device)]
    return reading_directions(model, rows.float())


def modality_direction(model: SpeechTextModel) -> Float[Tensor, " d_model"]:
    """From speech to text: what reads the mean text row less the mean row of all speech streams.

    Args:
        model: the model.

    Returns:
        The direction, float32.

    Raises:
        TypeError: the model knows no vocabulary.
        VocabError: the model has no text.
    """  # noqa: DOC502 (raised by what checks the model)
    require_vocabulary(model, "modality_direction")
    model.vocab.require_text("modality_direction", model.provenance.model_and_family)
    text, speech = (_mean_row(model, modality) for modality in ("text", "speech"))
    return reading_directions(model, (text - speech)[None])[0]


def text_subspace(model: SpeechTextModel, n: int) -> Float[Tensor, "n d_model"]:
    """Where most of what the text rows read lies.

    Args:
        model: the model.
        n: how many directions.

    Returns:
        Orthonormal leading right singular vectors of all text rows, through the final norm, and
        not centred: the mean row is in them.

    Raises:
        TypeError: the model knows no vocabulary.
        VocabError: the model has no text.
        ValueError: more directions than the rows span, or fewer than one.
    """  # noqa: DOC502 (the others are raised by what checks the model)
    require_vocabulary(model, "text_subspace")
    model.vocab.require_text("text_subspace", model.provenance.model_and_family)
    ids = torch.tensor(list(model.vocab.text), device=model.W_U.device)
    limit = min(len(ids), model.cfg.d_model)
    if not 1 <= n <= limit:
        raise ValueError(
            f"text_subspace: got n={n}, expected 1 to {limit}: {len(ids)} text rows of width "
            f"{model.cfg.d_model}."
        )
    W_U = model.W_U.detach().T
    gram = torch.zeros(model.cfg.d_model, model.cfg.d_model, dtype=torch.float64)
    for tile in ids.split(TILE_COLUMNS):
        rows = reading_directions(model, W_U[tile].float()).double().cpu()
        gram += rows.T @ rows
    _, vectors = torch.linalg.eigh(gram)  # rising eigenvalues
    return vectors[:, -n:].flip(1).T.float().contiguous()


def orthonormal(rows: Float[Tensor, "n d_model"]) -> Float[Tensor, "n_independent d_model"]:
    """Orthonormal rows of the same span.

    Args:
        rows: directions; one that lies in the span of the others adds nothing.

    Returns:
        At most as many rows, float32. By singular values and not by QR, which makes up a direction
        where rows depend on one another (" The", "The" of a tied embedding often nearly do).

    Raises:
        ValueError: there is no row, none that is not zero, or one with NaN or infinity.
    """
    if not rows.isfinite().all():
        raise ValueError(
            f"orthonormal: got {len(rows)} rows with NaN or infinite entries, expected finite "
            "ones. Was one divided by a length of 0?"
        )
    if not len(rows) or not rows.any():
        raise ValueError(
            f"orthonormal: got {len(rows)} rows without a direction, expected at least one row "
            "that is not zero."
        )
    lengths = rows.double().norm(dim=1, keepdim=True)
    unit = rows.double()[lengths[:, 0] > 0] / lengths[lengths[:, 0] > 0]
    _, sizes, basis = torch.linalg.svd(unit, full_matrices=False)
    return basis[sizes > _DEPENDENT * sizes[0]].float().contiguous()


def random_directions(
    n: int, d_model: int, *, length: float, seed: int
) -> Float[Tensor, "n d_model"]:
    """Gaussian directions of a given length.

    Args:
        n: how many.
        d_model: width of the residual stream.
        length: norm of each.
        seed: seed of the draw.

    Returns:
        The directions, float32, on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(n, d_model, generator=generator)
    return drawn / drawn.norm(dim=1, keepdim=True) * length


def _mean_row(model: SpeechTextModel, modality: Modality) -> Float[Tensor, " d_model"]:
    ids = model.vocab.mask(modality).nonzero()[:, 0].to(model.W_U.device)
    W_U = model.W_U.detach().T
    total = torch.stack([W_U[tile].double().sum(0) for tile in ids.split(TILE_COLUMNS)]).sum(0)
    return (total / len(ids)).float()
