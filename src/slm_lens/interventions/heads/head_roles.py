"""Which heads look where, from the last position of a word.

| role | looks at |
|---|---|
| ``own_units`` | the word's own earlier positions |
| ``previous_word`` | the last position of the word before |
| ``marker`` | the latest modality marker |
| ``same_word`` | all positions of the same word earlier in the run |
| ``first_position`` | the first token, where many heads rest (an attention sink) |

A head's score is the attention that it pays there, averaged over words, beside what a head would
pay that attends to all visible positions alike. Where the marker is the first token, ``marker`` and
``first_position`` are the same.

Patterns are read layer by layer and run by run and never kept. That a head looks somewhere does not
say that the model uses it: `ablate_heads` does.

Source: ours; heads by what they attend to as Olsson et al. 2022, arXiv:2209.11895.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import numpy as np
import polars as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens._console import shown_steps
from slm_lens._pictured import Pictured
from slm_lens.interventions.changing import hook_point, hooked
from slm_lens.interventions.runs.measured_run import MeasuredRun, check_names, interval_over_runs
from slm_lens.interventions.site import Site, sites
from slm_lens.interventions.tracing._role_keys import HEAD_ROLES, HeadRole, RoleKeys, role_keys
from slm_lens.lens._runs import ONE_AT_A_TIME
from slm_lens.lens.model import LensModel, SpeechTextModel
from slm_lens.lens.states import provenance_of
from slm_lens.model.provenance import Provenance
from slm_lens.sequence.utterance import Utterance
from slm_lens.sequence.word_span import MODALITIES, Modality


@dataclass(frozen=True, eq=False)
class HeadRoles(Pictured):
    """Attention from words to where each role looks.

    Attributes:
        mass: attention paid; NaN where a role does not occur at a word.
        uniform: the same for attention to all visible positions alike.
        roles: along the role axis.
        layers: blocks along the layer axis.
        utterances: name of the utterance of each word.
        word_index: its number in the utterance.
        words: the word.
        n_bootstrap: resamples of utterances in intervals.
        seed: seed of the resamples.
        provenance: what the numbers depend on; None for a plain bridge.
    """

    mass: Float[Tensor, "role word layer head"]
    uniform: Float[Tensor, "role word layer"]
    roles: tuple[HeadRole, ...]
    layers: tuple[int, ...]
    utterances: tuple[str, ...]
    word_index: tuple[int, ...]
    words: tuple[str, ...]
    n_bootstrap: int
    seed: int
    provenance: Provenance | None = field(repr=False)

    def to_frame(self) -> pl.DataFrame:
        """Every measurement.

        Returns:
            One row for each role, word where it occurs, layer and head: ``mass`` and ``uniform``.
        """
        occurs = ~self.mass.isnan()
        role, word, layer, head = (x.numpy() for x in occurs.nonzero(as_tuple=True))
        return pl.DataFrame(
            {
                "role": [self.roles[i] for i in role],
                "utterance": [self.utterances[i] for i in word],
                "word_index": np.array(self.word_index)[word],
                "word": [self.words[i] for i in word],
                "layer": np.array(self.layers)[layer],
                "head": head,
                "mass": self.mass.numpy()[role, word, layer, head],
                "uniform": self.uniform.numpy()[role, word, layer],
            }
        )

    def scores(self) -> pl.DataFrame:
        """Heads by role.

        Returns:
            One row for each role, layer and head: mean ``mass`` and ``uniform`` over words where
            the role occurs, ``excess = mass - uniform`` with its interval over utterances (``low``,
            ``high``), and ``n_words``. Highest excess first. A role that never occurs has no row.
        """
        rows = []
        for r, role in enumerate(self.roles):
            excess = (self.mass[r] - self.uniform[r][..., None]).double()
            occurs = ~excess.isnan().any((1, 2))
            if not occurs.any():
                continue
            mean, low, high = self._interval(excess[occurs].flatten(1), occurs)
            mass = self.mass[r][occurs].double().mean(0)
            uniform = self.uniform[r][occurs].double().mean(0)
            rows += [
                {
                    "role": role,
                    "layer": self.layers[layer],
                    "head": head,
                    "mass": mass[layer, head].item(),
                    "uniform": uniform[layer].item(),
                    "excess": float(mean[i]),
                    "low": float(low[i]),
                    "high": float(high[i]),
                    "n_words": int(occurs.sum()),
                }
                for i, (layer, head) in enumerate(np.ndindex(*mass.shape))
            ]
        frame = pl.DataFrame(rows)
        order = pl.col("role").replace_strict({x: i for i, x in enumerate(self.roles)})
        return frame.sort(order, -pl.col("excess"), "layer", "head")

    def top(self, role: HeadRole, n: int) -> tuple[Site, ...]:
        """The heads that look most where a role does, beyond uniform attention.

        Args:
            role: which.
            n: how many.

        Returns:
            Their outputs (``z``), the highest excess first.

        Raises:
            ValueError: the role never occurs, or there are not as many heads.
        """
        found = self.scores().filter(pl.col("role") == role)
        if not 1 <= n <= len(found):
            occurring = sorted(set(self.scores()["role"]))
            raise ValueError(
                f"HeadRoles.top: got role={role!r} and n={n}, expected a role of {occurring}, "
                f"which occur, and 1 to {self.mass[0, 0].numel()} heads."
            )
        rows = found.head(n).select("layer", "head").iter_rows()
        return tuple(Site("z", layer, head) for layer, head in rows)

    def _interval(
        self, values: Float[Tensor, "word column"], occurs: Tensor
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        names = list(dict.fromkeys(self.utterances))
        number = {name: i for i, name in enumerate(names)}
        utterance = np.array([number[x] for x in self.utterances], dtype=np.int64)
        return interval_over_runs(
            values.numpy(),
            utterance[occurs.numpy()],
            n_runs=len(names),
            n_bootstrap=self.n_bootstrap,
            seed=self.seed,
        )


def head_roles(
    model: LensModel,
    utterances: Sequence[Utterance],
    *,
    modalities: Sequence[Modality] = MODALITIES,
    layers: Sequence[int] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    progress: bool = True,
) -> HeadRoles:
    """Where every head looks from the last position of every word.

    Args:
        model: the model, in evaluation mode.
        utterances: the runs; names must differ.
        modalities: whether to look from spoken words, written ones, or both. What is looked at may
            be of the other modality.
        layers: blocks; None for all.
        n_bootstrap: resamples of utterances in intervals.
        seed: seed of the resamples.
        progress: show a progress bar, if the standard output is a terminal.

    Returns:
        The attention.

    Raises:
        ValueError: no utterance, a name twice, no word with a position, training mode, a layer or
            modality that does not exist, or a model without attention patterns.
    """
    check_names([MeasuredRun(x.name, x.sequence) for x in utterances], "head_roles")
    if model.training:
        raise ValueError(
            "head_roles: got a model in training mode, expected evaluation mode (dropout would "
            "change every pattern). Call `model.eval()`."
        )
    unknown = [m for m in modalities if m not in MODALITIES]
    if unknown or not modalities:
        raise ValueError(
            f"head_roles: got modalities={modalities!r}, expected a list of some of {MODALITIES}."
        )
    chosen = [site.layer for site in sites(model, "pattern", layers=layers)]
    of_runs = [(x, role_keys(x.sequence, modalities)) for x in utterances]
    of_runs = [(x, keys) for x, keys in of_runs if keys.words]
    if not of_runs:
        raise ValueError(
            f"head_roles: found no word with a position in {len(utterances)} utterances of the "
            f"modalities {tuple(modalities)}, expected at least one. Have the sequences words?"
        )
    keys_of = {x.name: keys for x, keys in of_runs}
    with shown_steps([x for x, _ in of_runs], "head roles", shown=progress) as each:
        read = [_read(model, x.sequence.tokens, keys_of[x.name], chosen) for x in each]
    return HeadRoles(
        mass=torch.cat([mass for mass, _ in read], 1),
        uniform=torch.cat([uniform for _, uniform in read], 1),
        roles=HEAD_ROLES,
        layers=tuple(chosen),
        utterances=tuple(x.name for x, keys in of_runs for _ in keys.words),
        word_index=tuple(i for _, keys in of_runs for i in keys.words),
        words=tuple(x.sequence.words[i].word for x, keys in of_runs for i in keys.words),
        n_bootstrap=n_bootstrap,
        seed=seed,
        provenance=(provenance_of(model, "hooked") if isinstance(model, SpeechTextModel) else None),
    )


def _read(
    model: LensModel, tokens: Int[Tensor, " pos"], keys: RoleKeys, layers: list[int]
) -> tuple[Float[Tensor, "role word layer head"], Float[Tensor, "role word layer"]]:
    """Attention of one run."""
    found: dict[int, tuple[Tensor, Tensor]] = {}

    def keep(pattern: Tensor, hook: object, *, layer: int) -> None:  # noqa: ARG001
        found[layer] = attention_to(pattern[0], keys)

    points = [hook_point(model, f"blocks.{i}.attn.hook_pattern", "head_roles") for i in layers]
    hooks = [
        (point, partial(keep, layer=layer)) for point, layer in zip(points, layers, strict=True)
    ]
    with ONE_AT_A_TIME, torch.no_grad(), hooked(hooks):
        given = tokens[None].to(model.cfg.device)
        cast(Any, model)(given, return_type="logits", logits_to_keep=1)
    mass = torch.stack([found[layer][0] for layer in layers], 2)
    return mass, torch.stack([found[layer][1] for layer in layers], 2)


def attention_to(
    pattern: Float[Tensor, "head query pos"], keys: RoleKeys
) -> tuple[Float[Tensor, "role word head"], Float[Tensor, "role word"]]:
    """Attention from each word to where each role looks.

    Args:
        pattern: attention of one layer.
        keys: queries and keys.

    Returns:
        Attention paid, and what uniform attention over the positions that any head sees would pay
        (all up to the query, or those in a sliding window); NaN where a role has no key.
    """
    rows = pattern[:, keys.queries.to(pattern.device)].float().cpu()
    wanted = keys.keys.float()
    none = ~keys.keys.any(-1)
    mass = torch.einsum("hwp,rwp->rwh", rows, wanted).masked_fill(none[..., None], torch.nan)
    visible = (rows > 0).any(0).float()
    uniform = torch.einsum("wp,rwp->rw", visible, wanted) / visible.sum(1)
    return mass, uniform.masked_fill(none, torch.nan)
