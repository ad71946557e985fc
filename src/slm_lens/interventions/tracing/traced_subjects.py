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
        run = MeasuredRun(pair.name, pair.clean, _subject(pair), pair.answer, pair.foil)
        key = counted_by(run)
        if key in found and repeated == "refuse":
            raise ValueError(
                f"subject_runs: got the pairs {found[key].name!r} and {pair.name!r} with the same "
                "clean run, subject and answer, expected different ones: the run would count "
                "twice. Take one partner for each fact, or repeated='once'."
            )
        found.setdefault(key, run)
    return tuple(found.values())


def counted_by(run: MeasuredRun) -> tuple[object, ...]:
    """What runs have in common that would count more than once.

    Args:
        run: the run.

    Returns:
        Its tokens, subject and answer.
    """
    return tuple(run.sequence.tokens.tolist()), run.span, run.answer


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
    spread = SubjectSpread(model)
    for run in runs:
        spread.add(run)
    return spread.noise(scale)


class SubjectSpread:
    """How far the embeddings of subjects spread, one run after the other.

    Args:
        model: the model.
    """

    def __init__(self, model: LensModel) -> None:
        self._model = model
        self._found: dict[Modality, tuple[int, float, float]] = {}

    def add(self, run: MeasuredRun) -> None:
        """Take in a run.

        Args:
            run: the run.

        Raises:
            ValueError: its subject is of no or several modalities.

        Source:
            Chan, Golub and LeVeque 1979, STAN-CS-79-773: sums of squares of two sets together.
        """  # noqa: DOC502 (raised by modality_of)
        modality = modality_of(run, "subject_noise")
        new = _embeddings(self._model, run)[list(run.positions)].double().cpu()
        n_new, mean_new = new.numel(), float(new.mean())
        squares_new = float((new - mean_new).square().sum())
        n, mean, squares = self._found.get(modality, (0, 0.0, 0.0))
        both, apart = n + n_new, mean_new - mean
        squares += squares_new + apart**2 * n * n_new / both
        self._found[modality] = both, mean + apart * n_new / both, squares

    def noise(self, scale: float) -> dict[Modality, float]:
        """Standard deviation of the noise, see `subject_noise`.

        Args:
            scale: how many standard deviations of the embeddings.

        Returns:
            One for each modality that was seen.

        Raises:
            ValueError: embeddings that do not vary.
        """
        sigma: dict[Modality, float] = {
            m: scale * (squares / max(1, n - 1)) ** 0.5
            for m, (n, _, squares) in self._found.items()
        }
        if not all(s > 0 for s in sigma.values()):
            raise ValueError(
                f"subject_noise: got embeddings whose noise would be {sigma}, expected some that "
                "vary. Are their rows trained?"
            )
        return sigma


def _embeddings(model: LensModel, run: MeasuredRun) -> Float[Tensor, "pos d_model"]:
    name = "blocks.0.hook_resid_pre"
    return activations(model, run.sequence.tokens, {name}, "subject_noise", n_blocks=1)[name]
