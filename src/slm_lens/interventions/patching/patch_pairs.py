"""Activation patching: states of one run put into another one, and what becomes of its prediction.

For each pair of runs, each site and each place, one copy of the *target* run gets the states of
the *source* run there, and the metrics are read from its last layer:

* **denoising** puts the clean run's states into the corrupted run: is this state enough to bring
  the answer back?
* **noising** does the reverse: is it needed to keep it?

Runs of unequal length are brought together word by word (`moving`). States may come from another
layer than the one they are put into: what transcription wrote at layer 3, say, placed where
prediction reads at layer 5.

Source: Vig et al. 2020, arXiv:2004.12265; Heimersheim and Nanda 2024, arXiv:2404.15255. Between
layers: "back-patching", Biran et al. 2024, arXiv:2406.12775. Across modalities: ours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens._console import step_progress
from slm_lens.interventions.metrics import Metric, Scored
from slm_lens.interventions.pairs.matching import ROLES, Role
from slm_lens.interventions.pairs.moving import Fit, Move
from slm_lens.interventions.pairs.run_pair import Direction, RunPair
from slm_lens.interventions.patching.patching_result import SCHEMA, Patching
from slm_lens.interventions.runs._activations import activations, streams
from slm_lens.interventions.runs.measured_run import provenance_of_runs
from slm_lens.interventions.runs.patched_runs import Cell, Patch, PatchedRuns
from slm_lens.interventions.site import Site, SiteKind, check_numbers, check_sites, sites
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.model import LensModel
from slm_lens.sequence.sequence import SpeechTextSequence

At = Literal["words", "roles", "positions", "all"]
AT: tuple[At, ...] = get_args(At)


@dataclass(frozen=True, eq=False)
class _Place:
    """Where in a pair's target run something is put."""

    label: str
    role: str
    position: int | None
    move: Move


def patch_pairs(
    model: LensModel,
    pairs: Sequence[RunPair],
    kind: SiteKind = "resid_pre",
    *,
    metrics: Sequence[Metric],
    direction: Direction = "denoising",
    at: At = "words",
    fit: Fit = "warp",
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | Literal["each"] | None = None,
    source_layers: Sequence[int] | Literal["same"] = "same",
    memory_mb: float = 256.0,
    progress: bool = True,
) -> Patching:
    """Patch every site and place of every pair.

    Args:
        model: the model, in evaluation mode; it is not changed.
        pairs: the runs, with different names.
        kind: which activation is moved.
        metrics: what is measured, with different names.
        direction: ``"denoising"`` puts the clean run's states into the corrupted run, ``"noising"``
            the reverse.
        at: ``"words"`` moves one match at a time (a word, or the start or end), ``"roles"`` all
            matches of a role, ``"positions"`` one target position of a match, ``"all"`` all matches
            together.
        fit: how a span's states come to a span of another length, see `moving`.
        layers: layers that are patched; None for all.
        heads: heads that are patched, each by itself; ``"each"`` for all heads, None for all
            together. Only for activations that have heads.
        source_layers: ``"same"``, or the layers that states are taken from: then every one of them
            is put into every one of `layers`.
        memory_mb: about how much the runs of a pair, the patches and a batch of copies may take
            together, in 10^6 bytes.
        progress: show a progress bar, if the standard output is a terminal.

    Returns:
        One row for each pair, site, place and metric.

    Raises:
        ValueError: no pair or metric, names that are not different, a layer or head that does not
            exist, lengths that do not fit, or a metric on tokens outside its modality.
        TypeError: something else than a list of pairs, or of metrics.
    """  # noqa: DOC502 (raised by the parts)
    _check(pairs, metrics, at)
    targets = sites(model, kind, layers=layers, heads=heads)
    moved = _moved(model, targets, source_layers)
    rows: list[tuple[Any, ...]] = []
    engines: set[str] = set()
    provenance = None
    with step_progress("patching", len(pairs), shown=progress) as show:
        for done, pair in enumerate(pairs):
            show(done, pair.name)
            runs = _PairRuns(model, pair, direction, metrics, memory_mb)
            engines.add(runs.target.engine)
            provenance = provenance_of_runs(model, runs.target)
            rows += runs.rows(moved, list(_places(pair, at, direction, fit)))
        show(len(pairs), "")
    return Patching(
        pl.DataFrame(rows, schema=SCHEMA, orient="row"),
        direction=direction,
        at=at,
        fit=fit,
        engine=", ".join(sorted(engines)),
        provenance=provenance,
    )


def _check(pairs: Sequence[RunPair], metrics: Sequence[Metric], at: str) -> None:
    for what, given, kind in (("pair", pairs, RunPair), ("metric", metrics, Metric)):
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise TypeError(
                f"patch_pairs: got {type(given).__name__} as {what}s, expected a list of them."
            )
        strange = sorted({type(x).__name__ for x in given if not isinstance(x, kind)})
        if strange:
            raise TypeError(
                f"patch_pairs: got {strange} among the {what}s, expected {kind.__name__}. A metric "
                "is what logit_difference() gives, with its brackets."
            )
    for what, names in (("pair", [p.name for p in pairs]), ("metric", [m.name for m in metrics])):
        if not names or len(set(names)) != len(names):
            raise ValueError(
                f"patch_pairs: got the {what}s {names[:8]}, expected at least one, and different "
                "names."
            )
    if at not in AT:
        raise ValueError(f"patch_pairs: got at={at!r}, expected one of {AT}.")


def _moved(
    model: LensModel, targets: Sequence[Site], source_layers: Sequence[int] | Literal["same"]
) -> list[tuple[Site, Site]]:
    """Source and target sites."""
    if isinstance(source_layers, str):
        if source_layers != "same":
            raise ValueError(
                f"patch_pairs: got source_layers={source_layers!r}, expected 'same' or layers."
            )
        return [(site, site) for site in targets]
    check_numbers(source_layers, "source_layers", "patch_pairs")
    found = [(Site(t.kind, layer, t.head), t) for layer in source_layers for t in targets]
    check_sites(model, [source for source, _ in found], "patch_pairs")
    return found


def _places(pair: RunPair, at: At, direction: Direction, fit: Fit) -> Iterator[_Place]:
    """Where states are put."""
    if at == "all":
        yield _Place("<all>", "all", None, pair.move(pair.matches, direction, fit))
        return
    if at == "roles":
        roles: tuple[Role, ...] = tuple(r for r in ROLES if r in {m.role for m in pair.matches})
        for role in roles:
            yield _Place(f"<{role}>", role, None, pair.move(pair.of_role(role), direction, fit))
        return
    for match in pair.matches:
        whole = pair.move([match], direction, fit)
        if at == "words":
            yield _Place(match.label, match.role, int(whole.targets[-1]), whole)
            continue
        for i, position in enumerate(whole.targets.tolist()):
            one = Move(whole.targets[i : i + 1], whole.sources, whole.weights[i : i + 1])
            yield _Place(match.label, match.role, position, one)


class _PairRuns:
    """The two runs of a pair, and what is measured of them."""

    def __init__(
        self,
        model: LensModel,
        pair: RunPair,
        direction: Direction,
        metrics: Sequence[Metric],
        memory_mb: float,
    ) -> None:
        self._model, self._pair, self._metrics = model, pair, metrics
        self._source_run, self._target_run = pair.runs(direction)
        self._lens = LogitLens(model)
        self._source = PatchedRuns(model, self._source_run.tokens).states  # its keys can go
        left_mb = max(1.0, memory_mb - self._source.nbytes / 1e6)
        self.target = PatchedRuns(model, self._target_run.tokens, memory_mb=left_mb)
        self._reference = self._source[-1, -1:]
        self._unpatched = {
            direction: self._values(self._target_run, self.target.states[-1][None]),
            _other(direction): self._values(self._source_run, self._source[-1][None]),
        }
        self._direction = direction

    def rows(
        self, moved: Sequence[tuple[Site, Site]], places: Sequence[_Place]
    ) -> list[tuple[Any, ...]]:
        """Rows of the table, by site, then place."""
        states = self._source_states([source for source, _ in moved])
        cells: list[Cell] = []
        keys: list[tuple[Any, ...]] = []
        for source, target in moved:
            for place in places:
                values = _moved_values(states[source.hook], source, place.move)
                cells.append([Patch(target, place.move.targets, values)])
                where = (place.label, place.role, place.position)
                keys.append((target.kind, target.layer, target.head, source.layer, *where))
        at = sorted({p for m in self._metrics for p in m.positions(self._target_run)})
        found: dict[int, list[float]] = {}
        for batch, last in self.target.batches(cells, at):
            by_metric = self._values(self._target_run, last, at)
            found |= {c: [float(x[i]) for x in by_metric] for i, c in enumerate(batch)}
        ends = [self._ends(i) for i in range(len(self._metrics))]
        return [
            (self._pair.name, *key, metric.name, *end, value)
            for i, key in enumerate(keys)
            for metric, end, value in zip(self._metrics, ends, found[i], strict=True)
        ]

    def _ends(self, metric: int) -> tuple[float | None, float | None]:
        """What the clean and the corrupted run have without patches."""
        both: list[float | None] = [
            float(self._unpatched[d][metric]) for d in ("noising", "denoising")
        ]
        if not self._metrics[metric].comparable:
            both[0 if self._direction == "denoising" else 1] = None
        return both[0], both[1]

    def _values(
        self,
        run: SpeechTextSequence,
        states: Float[Tensor, "batch n_positions d_model"],
        at: Sequence[int] | None = None,
    ) -> list[Float[Tensor, " batch"]]:
        """Every metric, of last-layer states at some positions; None for all."""
        place = {p: i for i, p in enumerate(range(len(run)) if at is None else at)}
        found = []
        for metric in self._metrics:
            positions = metric.positions(run)
            following = torch.tensor([int(run.tokens[p + 1]) if p + 1 < len(run) else -1
                                      for p in positions])  # fmt: skip
            scored = Scored(self._pair.answer, self._pair.foil, following, self._reference)
            with torch.no_grad():
                found.append(metric(self._lens, states[:, [place[p] for p in positions]], scored))
        return found

    def _source_states(self, wanted: Sequence[Site]) -> dict[str, Float[Tensor, "pos ..."]]:
        """Activations of the source run, by hook."""
        known = streams(self._source)
        inner = {site.hook for site in wanted} - set(known)
        return known | activations(self._model, self._source_run.tokens, inner, "patch_pairs")


def _other(direction: Direction) -> Direction:
    return "noising" if direction == "denoising" else "denoising"


def _moved_values(
    activation: Float[Tensor, "first ..."], site: Site, move: Move
) -> Float[Tensor, "n_targets ..."]:
    """What goes to the target positions."""
    if site.kind == "pattern":
        rows = activation if site.head is None else activation[site.head][None]
        share, place = move.weights.max(1)
        if not bool((share == 1).all()) or not torch.equal(move.sources[place], move.targets):
            raise ValueError(
                "patch_pairs: got attention patterns of runs whose positions differ, expected the "
                "same positions in both: a pattern is a row over all of them. Take z, or pairs of "
                "equal length, matched unit by unit: match_runs(..., 'units')."
            )
        values = move(rows.transpose(0, 1))
        return values if site.head is None else values[:, 0]
    of_head = activation if site.head is None else activation[:, site.head]
    return move(of_head)
