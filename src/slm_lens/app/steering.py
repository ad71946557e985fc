"""A prompt continued as the model is, and steered: what it goes on with, in text and units."""

from collections.abc import Iterator
from dataclasses import dataclass

from slm_lens.app.limits import Limits
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.utterance import Utterance
from slm_lens.studies.steer_prompt import steer_prompt


@dataclass(frozen=True)
class Continued:
    """What a model put after a prompt.

    Attributes:
        strength: of the vector, in lengths of the states; 0 for the model as it is.
        text: what was generated of text, read together.
        labels: written form of every new token, in order.
        unit_at: for every new token its unit in the stream of phonetic units; None for others.
        n_text: new tokens of text.
        n_speech: new tokens of speech.
    """

    strength: float
    text: str
    labels: tuple[str, ...]
    unit_at: tuple[int | None, ...]
    n_text: int
    n_speech: int

    @property
    def units(self) -> tuple[int, ...]:
        """The new units, in order."""
        return tuple(unit for unit in self.unit_at if unit is not None)


def steer_heard(
    model: HookedSLM,
    prompt: Utterance,
    toward: str,
    strength: float,
    *,
    layer: int,
    max_new_tokens: int,
    temperature: float,
    seed: int,
    limits: Limits,
) -> Iterator[Continued]:
    """Continue a prompt without and with a vector.

    Args:
        model: the model.
        prompt: what is continued.
        toward: ``"text"``, ``"speech"``, or a word, see `steer_prompt`.
        strength: of the vector; with 0 there is one continuation only.
        layer: block behind which it is added, from the prompt's last position on.
        max_new_tokens: most tokens to generate.
        temperature: 0 for the likeliest token at each step.
        seed: seed of the sampling.
        limits: the largest inputs.

    Yields:
        The continuation without the vector, then with it.

    Raises:
        ValueError: too many tokens, or what `steer_prompt` refuses.
    """
    if not 1 <= max_new_tokens <= limits.max_new_tokens:
        raise ValueError(
            f"got {max_new_tokens} new tokens, expected 1 to {limits.max_new_tokens}. Take fewer."
        )
    word = limits.text(toward)
    stream = model.vocab.streams.get("units", ())
    unit_of = {token: unit for unit, token in enumerate(stream)}
    for value in dict.fromkeys((0.0, float(strength))):
        made = steer_prompt(
            model,
            prompt,
            word,
            [value],
            layer=layer,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            seed=seed,
            progress=False,
        )
        (row,) = made.table.iter_rows(named=True)
        yield Continued(
            strength=value,
            text=row["text"],
            labels=tuple(row["labels"]),
            unit_at=tuple(unit_of.get(t) for t in row["tokens"]),
            n_text=row["n_text"],
            n_speech=row["n_speech"],
        )
