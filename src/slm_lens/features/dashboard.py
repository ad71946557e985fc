"""What there is to see of features: numbers, activations and examples, as tables.

Tables, so that a page is drawn from files as well, without the model; the sound of the clips is the
only other thing that the page needs (`slm_lens.feature_page`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.features.autoencoder import SparseAutoencoder
from slm_lens.features.feature_steering import logit_effects
from slm_lens.features.measures import encode_all
from slm_lens.features.states import PositionStates
from slm_lens.lens.model import SpeechTextModel
from slm_lens.vocab import TOKEN_KINDS

N_BINS = 24


@dataclass(frozen=True, eq=False)
class FeatureDashboard:
    """Features of one dictionary.

    Attributes:
        features: a row for each shown feature: ``feature``, what else is known of it (``tag``,
            ``speech_share`` ...), ``n_active`` and ``mean_active`` over the positions that were
            counted, ``peak`` (highest activation, the end of the histogram), ``histogram_speech``
            and ``histogram_text`` (positions by activation in bins of equal width from 0 to the
            peak; those without activity are left out), ``promoted`` and ``suppressed`` (tokens that
            the decoder's row raises and lowers most in the logits directly).
        activations: a row for each shown feature, example and position with an activation above 0:
            ``feature``, ``utterance``, ``position``, ``activation``.
        positions: a row for each position of the examples: ``utterance``, ``position``, ``kind``,
            ``label``, ``unit`` (null for what is no unit), ``word`` (its number; null outside).
        words: a row for each word of the examples: ``utterance``, ``word`` (its number),
            ``written``, ``modality``, ``start_s``, ``end_s`` (null for written words).
    """

    features: pl.DataFrame
    activations: pl.DataFrame
    positions: pl.DataFrame
    words: pl.DataFrame

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """All tables by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def feature_dashboard(
    model: SpeechTextModel,
    sae: SparseAutoencoder,
    known: pl.DataFrame,
    counted: PositionStates,
    examples: PositionStates,
    *,
    n_examples: int = 6,
    n_tokens: int = 8,
) -> FeatureDashboard:
    """Gather what there is to see of features.

    Args:
        model: the model of the dictionary.
        sae: the dictionary.
        known: a row for each feature that is shown, in order: ``feature``, and whatever else the
            page is to tell of it.
        counted: states over which histograms are counted.
        examples: all positions of the utterances out of which examples are taken.
        n_examples: utterances for each feature, those with its highest activations.
        n_tokens: promoted and suppressed tokens for each.

    Returns:
        The tables.

    Raises:
        ValueError: another model, no feature, or one that the dictionary has not; states of other
            layers; or no example or token.
    """
    sae.require_model(model, "feature_dashboard")
    numbers = known["feature"].to_list() if "feature" in known.columns else []
    layer = sae.layer
    if not numbers or not 0 <= min(numbers) <= max(numbers) < sae.d_sae:
        raise ValueError(
            f"feature_dashboard: got the features {numbers[:8]}, expected at least one, from 0 to "
            f"{sae.d_sae - 1}, in a column 'feature'."
        )
    if layer is None or n_examples < 1 or n_tokens < 1:
        raise ValueError(
            f"feature_dashboard: got a dictionary of layer {layer}, n_examples={n_examples} and "
            f"n_tokens={n_tokens}, expected a layer, and at least one of either."
        )
    of_counted = encode_all(sae, counted.at(layer))[:, numbers]
    of_examples = encode_all(sae, examples.at(layer))[:, numbers]
    peaks = torch.maximum(of_counted.amax(0), of_examples.amax(0))
    told = known.with_columns(
        pl.Series("n_active", (of_counted > 0).sum(0).numpy()),
        pl.Series("mean_active", mean_active(of_counted).numpy()),
        pl.Series("peak", peaks.numpy()),
        *(
            pl.Series(f"histogram_{kind}", _histograms(of_counted[counted.of_kind(kind)], peaks))
            for kind in ("speech", "text")
        ),
        *_tokens(model, sae.W_dec[numbers], n_tokens),
    )
    activations = _activations(of_examples, examples, numbers, n_examples)
    shown = activations["utterance"].unique().to_list()
    positions, words = _utterances(model, examples, set(shown))
    return FeatureDashboard(told, activations, positions, words)


def mean_active(activations: Float[Tensor, "n d_sae"]) -> Float[Tensor, " d_sae"]:
    """Mean activation of each feature over the positions at which it is active.

    Args:
        activations: at some positions.

    Returns:
        The means; 0 for a feature that is never active.
    """
    return activations.sum(0) / (activations > 0).sum(0).clamp(min=1)


def _histograms(
    activations: Float[Tensor, "n n_shown"], peaks: Float[Tensor, " n_shown"]
) -> list[list[int]]:
    rows = []
    for column, peak in zip(activations.T, peaks.tolist(), strict=True):
        active = column[column > 0]
        counts = torch.histc(active, N_BINS, 0.0, peak) if len(active) else torch.zeros(N_BINS)
        rows.append(counts.long().tolist())
    return rows


def _tokens(
    model: SpeechTextModel, directions: Float[Tensor, "n_shown d_model"], n_tokens: int
) -> list[pl.Series]:
    """Labels of the tokens that directions raise and lower most, with sizes, as lists."""
    effects = logit_effects(model, directions)
    columns = []
    for name, sign in (("promoted", 1), ("suppressed", -1)):
        top = (sign * effects).topk(n_tokens, dim=1)
        labels = [[model.vocab.label(t) for t in row] for row in top.indices.tolist()]
        columns.append(pl.Series(name, labels, dtype=pl.List(pl.String)))
        sizes = (sign * top.values).tolist()
        columns.append(pl.Series(f"{name}_logit", sizes, dtype=pl.List(pl.Float64)))
    return columns


def _activations(
    activations: Float[Tensor, "n n_shown"],
    examples: PositionStates,
    numbers: Sequence[int],
    n_examples: int,
) -> pl.DataFrame:
    """Activations above 0 in the utterances where each feature is highest."""
    frames = []
    names = [u.name for u in examples.utterances]
    for column, number in enumerate(numbers):
        values = activations[:, column]
        active = values > 0
        of = examples.utterance[active]
        best = torch.zeros(len(names)).scatter_reduce(0, of, values[active], "amax")
        for u in _highest(best, n_examples):
            rows = active & (examples.utterance == u)
            frames.append(
                pl.DataFrame(
                    {
                        "feature": [number] * int(rows.sum()),
                        "utterance": [names[u]] * int(rows.sum()),
                        "position": examples.position[rows].numpy(),
                        "activation": values[rows].numpy(),
                    }
                )
            )
    empty = {"feature": pl.Int64, "utterance": pl.String, "position": pl.Int64}
    return pl.concat(frames) if frames else pl.DataFrame(schema=empty | {"activation": pl.Float32})


def _highest(best: Float[Tensor, " n_utterances"], n: int) -> list[int]:
    order: Int[Tensor, " n_utterances"] = best.argsort(descending=True, stable=True)
    return [u for u in order[:n].tolist() if best[u] > 0]


def _utterances(
    model: SpeechTextModel, examples: PositionStates, shown: set[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Positions and words of the utterances that are shown."""
    stream_of = {t: u for _, ids in model.vocab.streams.items() for u, t in enumerate(ids)}
    positions, words = [], []
    for one in examples.utterances:
        if one.name not in shown:
            continue
        word_of = {p: i for i, w in enumerate(one.sequence.words) for p in range(w.start, w.end)}
        for p, token in enumerate(one.sequence.tokens.tolist()):
            kind = TOKEN_KINDS[int(model.vocab.kind_of[token])]
            row = (one.name, p, kind, model.vocab.label(token), stream_of.get(token))
            positions.append((*row, word_of.get(p)))
        words += [
            (one.name, i, w.word, w.modality, w.start_s, w.end_s)
            for i, w in enumerate(one.sequence.words)
        ]
    return (
        pl.DataFrame(
            positions,
            schema={"utterance": pl.String, "position": pl.Int64, "kind": pl.String,
                    "label": pl.String, "unit": pl.Int64, "word": pl.Int64},
            orient="row",
        ),
        pl.DataFrame(
            words,
            schema={"utterance": pl.String, "word": pl.Int64, "written": pl.String,
                    "modality": pl.String, "start_s": pl.Float64, "end_s": pl.Float64},
            orient="row",
        ),
    )  # fmt: skip
