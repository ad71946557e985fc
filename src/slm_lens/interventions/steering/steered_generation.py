"""What a model says or writes when it is steered."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, cast

import polars as pl
import torch
from jaxtyping import Int
from torch import Tensor

from slm_lens._console import shown_steps
from slm_lens._pictured import Pictured
from slm_lens.interventions.steering.steered import Steering, steered
from slm_lens.lens._runs import ONE_AT_A_TIME
from slm_lens.lens.model import SpeechTextModel
from slm_lens.model.provenance import Provenance
from slm_lens.sequence.utterance import Utterance
from slm_lens.vocab import TOKEN_KINDS, SpeechTextVocab, TokenKind


@dataclass(frozen=True, eq=False)
class Continuation:
    """What a model put after a prompt.

    Attributes:
        name: name of the prompt.
        n_prompt: tokens of the prompt.
        tokens: token ids that were generated.
        kinds: kind of each of them.
        units: ids of the generated units, by speech stream, in order.
        text: what was generated of text, read together.
    """

    name: str
    n_prompt: int
    tokens: Int[Tensor, " n_new"]
    kinds: tuple[TokenKind, ...]
    units: dict[str, tuple[int, ...]]
    text: str


@dataclass(frozen=True, eq=False)
class SteeredGeneration(Pictured):
    """Continuations of some prompts.

    Attributes:
        continuations: in the order of the prompts.
        provenance: what they depend on, with the hook points that steered.
    """

    continuations: tuple[Continuation, ...]
    provenance: Provenance = field(repr=False)

    def to_frame(self) -> pl.DataFrame:
        """The continuations.

        Returns:
            One row for each: ``name``, ``n_prompt``, ``tokens``, ``kinds``, ``text``, and
            ``units_{stream}`` for each speech stream.
        """
        rows = [
            {
                "name": c.name,
                "n_prompt": c.n_prompt,
                "tokens": c.tokens.tolist(),
                "kinds": list(c.kinds),
                "text": c.text,
                **{f"units_{stream}": list(ids) for stream, ids in c.units.items()},
            }
            for c in self.continuations
        ]
        return pl.DataFrame(rows)


def generate_steered(
    model: SpeechTextModel,
    prompts: Sequence[Utterance],
    steerings: Steering | Sequence[Steering],
    *,
    max_new_tokens: int,
    stop: Sequence[int] = (),
    temperature: float = 0.0,
    seed: int = 0,
    use_past_kv_cache: bool = True,
    progress: bool = True,
) -> SteeredGeneration:
    """Continue prompts while steering.

    A span counts positions of the prompt and of what is generated, so ``(len(prompt), None)``
    steers what is generated alone; the first new token is then predicted without steering, from
    the prompt's last position. ``(len(prompt) - 1, None)`` steers that one too.

    Args:
        model: the model.
        prompts: what is continued, one at a time; names must differ.
        steerings: what is added; none for the model as it is.
        max_new_tokens: most tokens to generate.
        stop: token ids that end a continuation.
        temperature: 0 takes the likeliest token; above 0 samples.
        seed: seed of the sampling, set anew for each prompt, so that it does not depend on others.
        use_past_kv_cache: keep keys and values. Changes numbers by rounding only.
        progress: show a progress bar, if the standard output is a terminal.

    Returns:
        The continuations.

    Raises:
        ValueError: no prompt, a name twice, an option out of range, or a steering that begins
            behind the last position that the model reads.
    """
    names = [prompt.name for prompt in prompts]
    if not names or len(set(names)) != len(names) or max_new_tokens < 1 or temperature < 0:
        raise ValueError(
            f"generate_steered: got {len(names)} prompts of {len(set(names))} names, "
            f"max_new_tokens={max_new_tokens}, temperature={temperature}; expected at least one "
            "prompt, each with a name of its own, max_new_tokens >= 1 and temperature >= 0."
        )
    options: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "do_sample": temperature > 0,
        "temperature": temperature or 1.0,
        "stop_at_eos": bool(stop),
        "eos_token_id": list(stop) or None,
        "use_past_kv_cache": use_past_kv_cache,
    }
    given = [steerings] if isinstance(steerings, Steering) else list(steerings)
    _check_reach(prompts, given, max_new_tokens)
    found = []
    with steered(model, given) if given else nullcontext():
        with shown_steps(prompts, "generating", shown=progress) as each:
            for prompt in each:
                new = _generate(model, prompt.sequence.tokens, options, seed)
                found.append(_read(model, prompt, new))
        provenance = model.provenance
    return SteeredGeneration(tuple(found), provenance)


def _check_reach(
    prompts: Sequence[Utterance], steerings: Sequence[Steering], max_new_tokens: int
) -> None:
    """The last token is generated and not read, so nothing is steered there."""
    for prompt in prompts:
        n_read = len(prompt.sequence) + max_new_tokens - 1
        for steering in steerings:
            start = steering.span[0]
            if start >= n_read:
                raise ValueError(
                    f"generate_steered: got a steering from position {start} on of "
                    f"{prompt.name!r}, of which the model reads {n_read} positions at most, "
                    f"expected a start below {n_read}. Begin earlier, or raise max_new_tokens."
                )


def _generate(
    model: Any, tokens: Int[Tensor, " n_tokens"], options: dict[str, Any], seed: int
) -> Int[Tensor, " n_new"]:
    """New tokens; the sampling of the bridge has no generator, so the global one is lent."""
    with ONE_AT_A_TIME, torch.random.fork_rng():
        torch.manual_seed(seed)
        out = model.generate(
            tokens[None].to(model.cfg.device), return_type="tokens", verbose=False, **options
        )
    return out[0, len(tokens) :].cpu()


def _read(model: SpeechTextModel, prompt: Utterance, new: Tensor) -> Continuation:
    vocab = model.vocab
    ids = new.tolist()
    kinds = tuple(TOKEN_KINDS[k] for k in vocab.kind_of[new].tolist())
    of_stream = {
        stream: {t: u for u, t in enumerate(tokens)} for stream, tokens in vocab.streams.items()
    }
    return Continuation(
        name=prompt.name,
        n_prompt=len(prompt.sequence),
        tokens=new,
        kinds=kinds,
        units={s: tuple(unit[t] for t in ids if t in unit) for s, unit in of_stream.items()},
        text=_text([t for t, kind in zip(ids, kinds, strict=True) if kind == "text"], model, vocab),
    )


def _text(ids: list[int], model: SpeechTextModel, vocab: SpeechTextVocab) -> str:
    """Pieces of words are decoded together: some tokenizers split characters."""
    tokenizer = cast(Any, model).tokenizer
    if tokenizer is None or not ids:
        return "".join(vocab.label(t) for t in ids)
    return str(tokenizer.decode(ids))
