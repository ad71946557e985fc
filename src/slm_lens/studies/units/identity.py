"""Which word it is, told from units alone, at growing shares of it and at other frame rates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.lens.build_up import Heard
from slm_lens.sequence.function_words import ENGLISH_FUNCTION_WORDS, word_type
from slm_lens.sequence.spans import word_unit_spans
from slm_lens.speech.alignment import AlignedWord, Alignment
from slm_lens.speech.mfcc import MfccKMeans, mfcc_features
from slm_lens.speech.unit_words import unit_histograms, word_type_hits
from slm_lens.speech.units import Units
from slm_lens.studies.units.clips import sounds
from slm_lens.studies.units.options import UnitsOptions

_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class SpokenWords:
    """Words with units, of all clips.

    Attributes:
        keys: clip and index of each word.
        words: which word it is.
        clip: number of its clip.
        ids: its units.
        begun: share of the word's duration at which each of its units begins.
        codebook: how many units there are to choose from.
    """

    keys: tuple[tuple[str, int], ...]
    words: tuple[str, ...]
    clip: Int[np.ndarray, " word"]
    ids: tuple[Int[Tensor, " _"], ...]
    begun: tuple[Float[np.ndarray, " _"], ...]
    codebook: int

    def heard(self, share: float, heard: Heard) -> list[Int[Tensor, " _"]]:
        """The units of each word that had begun when a share of it, above 0, was heard."""
        beginnings = []
        for ids, begun in zip(self.ids, self.begun, strict=True):
            n = int((begun < share - _ROUNDING).sum())
            if heard == "units":
                n = int(np.ceil(len(ids) * share - _ROUNDING))
            beginnings.append(ids[: max(1, n)])
        return beginnings


ClipWords = tuple[str, Units, Alignment, tuple[tuple[int, int], ...]]
"""Name, units, words, and span of each word over the units."""


def with_spans(name: str, units: Units, alignment: Alignment) -> ClipWords:
    """A clip with the units of each word, by the slamkit rule."""
    return name, units, alignment, word_unit_spans(units.ends_s.tolist(), alignment)


def counted_word(options: UnitsOptions) -> Callable[[AlignedWord], bool]:
    """Whether a word counts as a current one."""
    return lambda w: options.words == "all" or word_type(w.word) not in ENGLISH_FUNCTION_WORDS


def spoken_words(
    clips: Sequence[ClipWords],
    codebook: int,
    counts: Callable[[AlignedWord], bool],
) -> SpokenWords:
    """The words of clips that own units and count.

    Args:
        clips: from `with_spans`.
        codebook: how many units there are to choose from.
        counts: whether a word is looked at.

    Returns:
        The words.
    """
    keys, words, clip_of, ids, begun = [], [], [], [], []
    for number, (name, units, alignment, spans) in enumerate(clips):
        for index, (word, (start, end)) in enumerate(zip(alignment, spans, strict=True)):
            if start == end or not counts(word):
                continue
            keys.append((name, index))
            words.append(word.word)
            clip_of.append(number)
            ids.append(units.ids[start:end])
            duration_s = max(word.end_s - word.start_s, _ROUNDING)
            begun.append((units.starts_s[start:end].numpy() - word.start_s) / duration_s)
    return SpokenWords(
        tuple(keys), tuple(words), np.array(clip_of), tuple(ids), tuple(begun), codebook
    )


def identity_hits(
    spoken: SpokenWords, shares: Sequence[float], options: UnitsOptions
) -> tuple[Float[np.ndarray, "word share"], Float[np.ndarray, "word share"]]:
    """Whether each word is among the k nearest word types, from its units alone.

    Args:
        spoken: the words.
        shares: of them that were heard, above 0.
        options: of the study.

    Returns:
        Hits of the words (between 0 and 1 where types tie), and those of words drawn from other
        clips; NaN for words without an example in another clip.
    """
    _, types = np.unique(np.array(spoken.words), return_inverse=True)
    draws = _shuffled_types(types, spoken.clip, options)
    hits, shuffled = [], []
    for share in shares:
        histograms = unit_histograms(spoken.heard(share, options.heard), spoken.codebook)
        found = word_type_hits(histograms, types, spoken.clip, k=options.k)
        own = found[np.arange(len(types)), types]
        drawn = np.take_along_axis(found, draws, axis=1).mean(1)
        hits.append(own)
        shuffled.append(np.where(np.isnan(own), np.nan, drawn))
    return np.stack(hits, 1), np.stack(shuffled, 1)


def _shuffled_types(
    types: Int[np.ndarray, " word"], clip: Int[np.ndarray, " word"], options: UnitsOptions
) -> Int[np.ndarray, "word draw"]:
    """Types of words of other clips, other than the word's own, as often as they are said.

    Raises:
        ValueError: all words of the other clips are of one type.
    """
    rng = np.random.default_rng([options.seed, 1])
    draws = np.empty((len(types), options.n_draws), dtype=np.int64)
    for i, own in enumerate(types):
        others = types[(clip != clip[i]) & (types != own)]
        if not len(others):
            raise ValueError(
                "study units: found no other word in another clip to hold a word against, expected "
                "at least two clips with different words."
            )
        draws[i] = rng.choice(others, size=options.n_draws)
    return draws


def refitted(data: str, rate_hz: float, options: UnitsOptions) -> MfccKMeans:
    """Centroids of the frames of all clips at a frame rate.

    Args:
        data: the folder.
        rate_hz: frames per second.
        options: of the study; gives the number of centroids.

    Returns:
        A tokenizer; it has seen the sound of the clips, and none of their words.

    Raises:
        ValueError: there are fewer frames than centroids.
        ImportError: without scikit-learn.
    """
    try:
        from sklearn.cluster import KMeans
    except ImportError as error:
        raise ImportError(
            "study units: got n_clusters > 0 without scikit-learn, expected it for centroids that "
            "are fitted. Run pip install 'slm-lens[synth]', or give n_clusters=0."
        ) from error
    rate = MfccKMeans.sample_rate_hz
    features = [mfcc_features(w, frame_rate_hz=rate_hz).numpy() for _, w, _ in sounds(data, rate)]
    frames = np.concatenate(features)
    if len(frames) < options.n_clusters:
        raise ValueError(
            f"study units: got {len(frames)} frames at {rate_hz:g} Hz for n_clusters="
            f"{options.n_clusters}, expected as many at least. Give fewer clusters or more clips."
        )
    # The stubs of scikit-learn know n_init as a string only.
    kmeans = KMeans(options.n_clusters, n_init=2, random_state=options.seed)  # pyright: ignore[reportArgumentType]
    kmeans.fit(frames)
    centroids = torch.from_numpy(kmeans.cluster_centers_).float()
    return MfccKMeans(centroids, frame_rate_hz=rate_hz)
