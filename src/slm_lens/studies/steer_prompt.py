"""What a model goes on with after a prompt, by how strongly it is steered.

The vector is made as long as the states are where it is added (the median over the prompt's
positions: the first one is many times longer in most models, and would decide a mean), so that a
strength of 1 means as much in one layer and model as in another.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import polars as pl
from jaxtyping import Float
from torch import Tensor

from slm_lens._atomic import write_atomically
from slm_lens._console import step_progress
from slm_lens._pictured import Pictured
from slm_lens.interventions.directions import modality_direction, word_directions
from slm_lens.interventions.site import Site, check_sites
from slm_lens.interventions.steering.steered import Steering, constant, linear_decay
from slm_lens.interventions.steering.steered_generation import generate_steered
from slm_lens.lens.states import residual_stack
from slm_lens.model._facts import read_facts, write_facts
from slm_lens.model.hooked import HookedSLM
from slm_lens.model.provenance import Provenance
from slm_lens.sequence.utterance import Utterance
from slm_lens.sequence.word_span import MODALITIES

StreamKind = Literal["resid_pre", "resid_post"]


@dataclass(frozen=True, eq=False)
class SteeredPrompt(Pictured):
    """Continuations of one prompt.

    Attributes:
        table: one row for each strength: ``strength``, ``n_text`` and ``n_speech`` (new tokens of
            each modality), ``tokens`` (ids), ``labels`` (their printable names), ``text`` (what was
            generated of text, read together).
        prompt: name of the prompt.
        n_prompt: its tokens.
        toward: what the vector raises.
        away: what it lowers besides; None for nothing.
        kind: site of the vector.
        layer: its layer.
        start: first position that is steered.
        decay: positions over which the vector fades; None for no fading.
        length: norm of the vector at strength 1.
        temperature: 0 for the likeliest token at each step.
        seed: seed of the sampling.
        provenance: what the numbers depend on; the hooks are those that steered.
    """

    table: pl.DataFrame
    prompt: str
    n_prompt: int
    toward: str
    away: str | None
    kind: str
    layer: int
    start: int
    decay: int | None
    length: float
    temperature: float
    seed: int
    provenance: Provenance

    def to_frame(self) -> pl.DataFrame:
        """The continuations.

        Returns:
            `table`.
        """
        return self.table

    def write(self, folder: Path) -> None:
        """Write ``steering.parquet`` (the table) and ``steering.json`` (the rest).

        Each file appears in full or not at all, also after Ctrl-C.

        Args:
            folder: made if needed; earlier files are replaced.
        """
        write_atomically(folder / "steering.parquet", self.table.write_parquet)
        write_facts(folder / "steering.json", {name: self.__dict__[name] for name in _FACTS})

    @classmethod
    def read(cls, folder: Path) -> "SteeredPrompt":
        """Read what `write` wrote.

        Args:
            folder: where it was written.

        Returns:
            An equal result.

        Raises:
            LookupError: the folder holds no such result.
            ValueError: it was written by another version.
        """  # noqa: DOC502 (raised by read_facts)
        facts = read_facts(folder, "steering", _FACTS, reader="SteeredPrompt.read")
        return cls(table=pl.read_parquet(folder / "steering.parquet"), **facts)


def steer_prompt(
    model: HookedSLM,
    prompt: Utterance,
    toward: str,
    strengths: Sequence[float],
    *,
    layer: int,
    away: str | None = None,
    kind: StreamKind = "resid_post",
    start: int | None = None,
    decay: int | None = None,
    max_new_tokens: int = 20,
    stop: Sequence[int] = (),
    temperature: float = 0.0,
    seed: int = 0,
    progress: bool = True,
) -> SteeredPrompt:
    """Continue a prompt under several strengths of one vector.

    Args:
        model: the model.
        prompt: what is continued.
        toward: ``"text"`` or ``"speech"`` for that modality (`modality_direction`), else a word
            (the mean of its tokens' `word_directions`).
        strengths: in lengths of the states; 0 is the model as it is, negative ones steer away.
        layer: block of the vector.
        away: another modality or word, whose direction is taken off; both then have length 1
            before.
        kind: before or after the block.
        start: first position that is steered; None for the prompt's last one, from which the first
            new token is predicted.
        decay: positions over which the vector fades to nothing; None for no fading.
        max_new_tokens: most tokens to generate.
        stop: token ids that end a continuation.
        temperature: 0 takes the likeliest token; above 0 samples.
        seed: seed of the sampling, the same for every strength.
        progress: show a progress bar, if the standard output is a terminal.

    Returns:
        The continuations.

    Raises:
        ValueError: no strength or one twice, a word without tokens, a direction without a length,
            a layer that does not exist, a start outside the prompt, or what `generate_steered`
            refuses.
    """
    n = len(prompt.sequence)
    begin = n - 1 if start is None else start
    if not strengths or len(set(strengths)) != len(strengths) or not 0 <= begin <= n:
        raise ValueError(
            f"steer_prompt: got the strengths {list(strengths)} from position {begin} of a prompt "
            f"of {n} tokens on, expected at least one, each once, and a position up to {n}."
        )
    site = Site(kind, layer)
    check_sites(model, [site], "steer_prompt")
    vector = _unit_vector(model, toward, away)
    stack = residual_stack(model, prompt.sequence.tokens[None])
    length = float(stack[layer + (kind == "resid_post"), 0].float().norm(dim=-1).quantile(0.5))
    schedule = constant if decay is None else linear_decay(decay)
    rows: list[dict[str, Any]] = []
    provenance = model.provenance
    with step_progress("continuing", len(strengths), shown=progress) as show:
        for done, strength in enumerate(strengths):
            show(done, f"strength {strength:g}")
            steering = Steering(site, vector * length, float(strength), (begin, None), schedule)
            made = generate_steered(
                model, [prompt], steering, max_new_tokens=max_new_tokens, stop=stop,
                temperature=temperature, seed=seed, progress=False,
            )  # fmt: skip
            provenance = made.provenance
            (found,) = made.continuations
            ids = found.tokens.tolist()
            rows.append(
                {
                    "strength": float(strength),
                    "n_text": found.kinds.count("text"),
                    "n_speech": found.kinds.count("speech"),
                    "tokens": ids,
                    "labels": [model.vocab.label(t) for t in ids],
                    "text": found.text,
                }
            )
        show(len(strengths), "")
    return SteeredPrompt(
        pl.DataFrame(rows, schema=_SCHEMA),
        prompt=prompt.name,
        n_prompt=n,
        toward=toward,
        away=away,
        kind=kind,
        layer=layer,
        start=begin,
        decay=decay,
        length=length,
        temperature=temperature,
        seed=seed,
        provenance=provenance,
    )


_SCHEMA: dict[str, Any] = {
    "strength": pl.Float64,
    "n_text": pl.Int32,
    "n_speech": pl.Int32,
    "tokens": pl.List(pl.Int64),
    "labels": pl.List(pl.String),
    "text": pl.String,
}
_FACTS = [f.name for f in fields(SteeredPrompt) if f.name != "table"]


def _unit_vector(model: HookedSLM, toward: str, away: str | None) -> Float[Tensor, " d_model"]:
    vector = _direction(model, toward)
    if away is not None:
        vector = vector - _direction(model, away)
    size = float(vector.norm())
    if not size > 0:
        raise ValueError(
            f"steer_prompt: got toward={toward!r} and away={away!r}, whose directions are the "
            "same, expected different ones."
        )
    return vector / size


def _direction(model: HookedSLM, name: str) -> Float[Tensor, " d_model"]:
    """Direction of a modality or word, of length 1."""
    if name in MODALITIES:
        to_text = modality_direction(model)
        vector = to_text if name == "text" else -to_text
    else:
        tokens = model.vocab.word_tokens(name, model.word_policy)
        if not tokens:
            raise ValueError(
                f"steer_prompt: got {name!r}, for which policy {model.word_policy!r} finds no "
                f"token, expected a word that it finds, or one of {MODALITIES}."
            )
        vector = word_directions(model, tokens).mean(0)
    return vector / vector.norm()
