"""Options of each kind of run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from slm_lens.interventions.pairs.matching import Matching
from slm_lens.interventions.pairs.moving import Fit
from slm_lens.interventions.pairs.run_pair import Direction
from slm_lens.interventions.patching._patched_pair import At
from slm_lens.interventions.site import SiteKind
from slm_lens.interventions.tracing._trace_places import Severed, TraceAt, TraceKind
from slm_lens.interventions.tracing._traced_prompt import Unanswered
from slm_lens.vocab import WordPolicy


@dataclass(frozen=True, kw_only=True)
class PhasesOptions:
    """Of the kind ``phases``.

    Attributes:
        policy: which tokens count as a word; None for the model's own.
        n_draws: control words for each word and kind of control.
        lens: folder of a tuned lens to read through.

    Raises:
        ValueError: `n_draws` is below 0.
    """

    policy: WordPolicy | None = None
    n_draws: int = 20
    lens: str | None = None

    def __post_init__(self) -> None:
        if self.n_draws < 0:
            raise ValueError(f"phases: got n_draws={self.n_draws}, expected at least 0.")


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """Of the kind ``score``.

    Attributes:
        within: tokens that compete: "full", or those of one modality.
        marked: whether a prompt starts with the marker of its modality; None for as the model's
            family writes it. slamkit's cross-modal metric marks it always.
    """

    within: Literal["full", "speech", "text"] = "full"
    marked: bool | None = None


@dataclass(frozen=True, kw_only=True)
class PatchOptions:
    """Of the kind ``patch``; see `slm_lens.patch_pairs` and `slm_lens.read_pairs`.

    Attributes:
        site: which activation is moved.
        metrics: what is measured, by the names of ``slm-lens patch --metric``.
        direction: "denoising" or "noising".
        at: what is moved together.
        fit: how lengths that differ are brought together.
        layers: layers that are patched; None for all.
        heads: heads that are patched; "each" for all, None for all together.
        source_layers: layers that states are taken from; None for the same.
        match: which spans stand for each other.
        policy: which tokens count as a word; None for the model's own.
        memory_mb: about how much a pair may take, in 10^6 bytes.

    Raises:
        ValueError: `memory_mb` is not above 0.
    """

    site: SiteKind = "resid_pre"
    metrics: tuple[str, ...] = ("logit_difference",)
    direction: Direction = "denoising"
    at: At = "words"
    fit: Fit = "warp"
    layers: tuple[int, ...] | None = None
    heads: Literal["each"] | tuple[int, ...] | None = None
    source_layers: tuple[int, ...] | None = None
    match: Matching = "words"
    policy: WordPolicy | None = None
    memory_mb: float = 256.0

    def __post_init__(self) -> None:
        _require_above_0(self, ("memory_mb",), "patch")


@dataclass(frozen=True, kw_only=True)
class TraceOptions:
    """Of the kind ``trace``; see `slm_lens.causal_trace` and `slm_lens.read_pairs`.

    Attributes:
        site: what is restored.
        metrics: what is measured, by the names of ``slm-lens trace --metric``.
        at: what is restored together.
        layers: layers in the middle of what is restored; None for all.
        window: layers restored together; None as in `slm_lens.causal_trace`.
        severed: outputs that stay corrupted behind what is restored.
        unanswered: what becomes of prompts that the model does not answer.
        repeated: what becomes of pairs with the clean run, subject and answer of an earlier one,
            which would count more than once: "refuse" makes them errors, "once" passes over
            them. To find them, all items are read once more before the first shard.
        sigma: noise for each modality; None measures it over all prompts that can be used, before
            the first shard.
        noise_scale: how many standard deviations of the embeddings; of no effect with `sigma`.
        n_samples: noise samples for each prompt.
        match: which spans of a pair stand for each other.
        policy: which tokens count as a word; None for the model's own.
        memory_mb: about how much a batch of copies may take, in 10^6 bytes.

    Raises:
        ValueError: `noise_scale`, `n_samples` or `memory_mb` is not above 0.
    """

    site: TraceKind = "resid_post"
    metrics: tuple[str, ...] = ("probability",)
    at: TraceAt = "roles"
    layers: tuple[int, ...] | None = None
    window: int | None = None
    severed: Severed | None = None
    unanswered: Unanswered = "leave_out"
    repeated: Literal["refuse", "once"] = "refuse"
    sigma: Mapping[Literal["speech", "text"], float] | None = None
    noise_scale: float = 3.0
    n_samples: int = 10
    match: Matching = "words"
    policy: WordPolicy | None = None
    memory_mb: float = 256.0

    def __post_init__(self) -> None:
        _require_above_0(self, ("noise_scale", "n_samples", "memory_mb"), "trace")


@dataclass(frozen=True, kw_only=True)
class CacheOptions:
    """Of the kind ``cache``.

    Attributes:
        hooks: names of hook points, such as ``blocks.3.hook_resid_post``; ``*`` stands for
            anything.
        at: "positions" keeps every position; "words" the mean over the positions of each word;
            "word_ends" the last position of each word.
        dtype: dtype on disk; states that do not fit it are refused.
    """

    hooks: tuple[str, ...] = ("blocks.*.hook_resid_post",)
    at: Literal["positions", "words", "word_ends"] = "positions"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"


def _require_above_0(options: object, names: tuple[str, ...], kind: str) -> None:
    for name in names:
        if not vars(options)[name] > 0:
            raise ValueError(
                f"{kind}: got {name}={vars(options)[name]}, expected a number above 0."
            )
