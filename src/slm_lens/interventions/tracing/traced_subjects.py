"""The subject of a prompt: where it is, which part each position plays, how much noise it gets.

| role | positions |
|---|---|
| ``subject_first`` | the subject's first, if it has two or more |
| ``subject_middle`` | between them |
| ``subject_last`` | the subject's last, also of a subject of one position |
| ``next`` | the first one after the subject |
| ``further`` | those behind it |
| ``last`` | the run's last one, if it is behind the subject; it is then in no other role |

What stands before the subject never sees the noise, so there is nothing to restore.

A spoken subject has a position for each unit, so its roles are parts of its time.

Source: roles and noise as in Meng et al. 2022, arXiv:2202.05262 (ROME), whose code takes three
standard deviations of all entries of the subjects' embeddings.
"""

from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.interventions.pairs.run_pair import RunPair
from slm_lens.interventions.runs._activations import activations
from slm_lens.interventions.runs.measured_run import MeasuredRun
from slm_lens.lens.model import LensModel
from slm_lens.sequence.word_span import MODALITIES, Modality

TraceRole = Literal[
    "subject_first", "subject_middle", "subject_last", "next", "further", "last"
]  # fmt: skip
TRACE_ROLES: tuple[TraceRole, ...] = get_args(TraceRole)


def subject_runs(
    pairs: Sequence[RunPair], *, repeated: Literal["refuse", "once"] = "refuse"
) -> tuple[MeasuredRun, ...]:
    """The clean runs of some pairs, each with the words that the pair changes as its subject.

    Args:
        pairs: pairs of runs whose changed words stand together, such as
            ``organism_pairs(model).pairs``.
        repeated: what becomes of pairs with the same clean run, subject and answer, which would
            count more than once: ``"refuse"`` raises, ``"once"`` takes the first.

    Returns:
        Runs with the names, answers and foils of their pairs; the span is the subject's.

    Raises:
        ValueError: an unknown option, a pair without a changed word or with changed words apart
            from each other, or pairs with the same clean run.
    """
    if repeated not in ("refuse", "once"):
        raise ValueError(
            f"subject_runs: got repeated={repeated!r}, expected one of ('refuse', 'once')."
        )
    found: dict[object, MeasuredRun] = {}
    for pair in pairs:
        span = _subject(pair)
        key = (tuple(pair.clean.tokens.tolist()), span, pair.answer)
        if key in found and repeated == "refuse":
            raise ValueError(
                f"subject_runs: got the pairs {found[key].name!r} and {pair.name!r} with the same "
                "clean run, subject and answer, expected different ones: the run would count "
                "twice. Take one partner for each fact, or repeated='once'."
            )
        run = MeasuredRun(pair.name, pair.clean, span, pair.answer, pair.foil)
        found.setdefault(key, run)
    return tuple(found.values())


def _subject(pair: RunPair) -> tuple[int, int]:
    """Span of the clean run's words that hold a changed position."""
    changed = [m.clean for m in pair.matches if m.role == "changed"]
    words = pair.clean.words
    held = [i for i, w in enumerate(words) if any(a < w.end and w.start < b for a, b in changed)]
    if not held or held != list(range(held[0], held[-1] + 1)):
        raise ValueError(
            f"subject_runs: got the pair {pair.name!r}, whose changed words are "
            f"{[words[i].word for i in held]}, expected one, or several side by side. Name the "
            "subject by hand: MeasuredRun(name, sequence, span, answer)."
        )
    return words[held[0]].start, words[held[-1]].end


def modality_of(run: MeasuredRun, caller: str) -> Modality:
    """Modality of a run's subject.

    Args:
        run: the run.
        caller: the public function, to begin messages with.

    Returns:
        ``"text"`` or ``"speech"``.

    Raises:
        ValueError: it has positions of both, or of another kind.
    """
    kinds = sorted({run.sequence.kinds[p] for p in run.positions})
    if len(kinds) > 1 or kinds[0] not in MODALITIES:
        raise ValueError(
            f"{caller}: got the subject {run.span} of {run.name!r}, with positions of {kinds}, "
            f"expected one of {MODALITIES}: noise is measured for each. Leave markers out."
        )
    return cast(Modality, kinds[0])


def role_of(run: MeasuredRun, position: int) -> TraceRole:
    """Which part a position plays.

    Args:
        run: the run; its span is the subject's.
        position: one from the subject's first on.

    Returns:
        The role.
    """
    subject = run.positions
    if position in subject:
        if position == subject[-1]:
            return "subject_last"
        return "subject_first" if position == subject[0] else "subject_middle"
    if position == len(run.sequence) - 1:
        return "last"
    return "next" if position == subject[-1] + 1 else "further"


def subject_noise(
    model: LensModel, runs: Sequence[MeasuredRun], *, scale: float = 3.0
) -> dict[Modality, float]:
    """Standard deviation of the noise, for each modality that a subject has.

    Args:
        model: the model.
        runs: the data set; a subject's tokens count as often as they occur.
        scale: how many standard deviations of the subjects' embeddings.

    Returns:
        ``scale`` times the standard deviation over all entries of what goes into the first block
        at the subjects' positions, unbiased, in float64; text and units are apart, since their
        embeddings may be of different size.

    Raises:
        ValueError: there is no run, a scale that is not above 0, a subject of no or several
            modalities, or embeddings that do not vary.
    """
    if not runs or not scale > 0:
        raise ValueError(
            f"subject_noise: got {len(runs)} runs and scale={scale}, expected at least one, and a "
            "scale above 0."
        )
    found: dict[Modality, list[Tensor]] = {}
    for run in runs:
        embedded = _embeddings(model, run)[list(run.positions)]
        found.setdefault(modality_of(run, "subject_noise"), []).append(embedded.double().cpu())
    sigma: dict[Modality, float] = {
        m: scale * float(torch.cat(rows).std()) for m, rows in found.items()
    }
    if not all(s > 0 for s in sigma.values()):
        raise ValueError(
            f"subject_noise: got embeddings whose noise would be {sigma}, expected some that vary. "
            "Are their rows trained?"
        )
    return sigma


def _embeddings(model: LensModel, run: MeasuredRun) -> Float[Tensor, "pos d_model"]:
    name = "blocks.0.hook_resid_pre"
    return activations(model, run.sequence.tokens, {name}, "subject_noise", n_blocks=1)[name]
