"""One pair's rows of a patching table, and what is done to every pair of a sweep."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from slm_lens.interventions.metrics import Metric, Scored
from slm_lens.interventions.pairs.matching import ROLES, Role
from slm_lens.interventions.pairs.moving import FITS, Fit, Move
from slm_lens.interventions.pairs.run_pair import DIRECTIONS, Direction, RunPair
from slm_lens.interventions.runs._activations import activations, streams
from slm_lens.interventions.runs.patched_runs import Cell, Engine, Patch, PatchedRuns
from slm_lens.interventions.site import Site, SiteKind, check_numbers, check_sites, sites
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.model import LensModel
from slm_lens.sequence.sequence import SpeechTextSequence

At = Literal["words", "roles", "positions", "all"]
AT: tuple[At, ...] = get_args(At)


@dataclass(frozen=True, eq=False)
class PatchPlan:
    """What is done to every pair; `plan_patches` makes it.

    Attributes:
        moved: sites that states are taken from, and put into.
        metrics: what is measured.
        direction: which run is patched.
        at: what is moved together.
        fit: how lengths that differ are brought together.
        memory_mb: about how much a pair may take, in 10^6 bytes.
    """

    moved: tuple[tuple[Site, Site], ...]
    metrics: tuple[Metric, ...]
    direction: Direction
    at: At
    fit: Fit
    memory_mb: float


@dataclass(frozen=True, eq=False)
class PatchedPair:
    """What patching a pair gave.

    Attributes:
        rows: rows of `Patching.table`.
        engine: how the patched runs were made, see `PatchedRuns`.
        why: why it is not the fastest; empty if it is.
    """

    rows: list[tuple[Any, ...]]
    engine: Engine
    why: str


def plan_patches(
    model: LensModel,
    kind: SiteKind,
    *,
    metrics: Sequence[Metric],
    direction: Direction,
    at: At,
    fit: Fit,
    layers: Sequence[int] | None,
    heads: Sequence[int] | Literal["each"] | None,
    source_layers: Sequence[int] | Literal["same"],
    memory_mb: float,
) -> PatchPlan:
    """What is done to every pair; arguments as in `patch_pairs`.

    Args:
        model: the model.
        kind: which activation is moved.
        metrics: what is measured.
        direction: which run is patched.
        at: what is moved together.
        fit: how lengths that differ are brought together.
        layers: layers that are patched.
        heads: heads that are patched.
        source_layers: layers that states are taken from.
        memory_mb: about how much a pair may take, in 10^6 bytes.

    Returns:
        The plan.

    Raises:
        ValueError: no metric, or two of one name; an unknown option; a layer or head that does
            not exist.
    """
    names = [m.name for m in metrics]
    if not names or len(set(names)) != len(names):
        raise ValueError(
            f"patch_pairs: got the metrics {names[:8]}, expected at least one, and different names."
        )
    for option, got, valid in (
        ("direction", direction, DIRECTIONS),
        ("at", at, AT),
        ("fit", fit, FITS),
    ):
        if got not in valid:
            raise ValueError(f"patch_pairs: got {option}={got!r}, expected one of {valid}.")
    targets = sites(model, kind, layers=layers, heads=heads)
    moved = tuple(_moved(model, targets, source_layers))
    return PatchPlan(moved, tuple(metrics), direction, at, fit, memory_mb)


def patch_pair(model: LensModel, pair: RunPair, plan: PatchPlan) -> PatchedPair:
    """Patch every site and place of one pair.

    Args:
        model: the model, in evaluation mode; it is not changed.
        pair: the runs.
        plan: what is done.

    Returns:
        Rows, by site, place and metric.

    Raises:
        ValueError: lengths that do not fit, or a metric on tokens outside its modality.
    """  # noqa: DOC502 (raised by the parts)
    runs = _PairRuns(model, pair, plan.direction, plan.metrics, plan.memory_mb)
    rows = runs.rows(plan.moved, list(_places(pair, plan.at, plan.direction, plan.fit)))
    return PatchedPair(rows, runs.target.engine, runs.target.why)


@dataclass(frozen=True, eq=False)
class _Place:
    """Where in a pair's target run something is put."""

    label: str
    role: str
    position: int | None
    move: Move


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
