"""Affinities of every switch, by layer and position: after a text, after speech, after nothing.

At a position the *current* word is the last one that has begun by then, heard or written. Read are

| stream | affinity to |
|---|---|
| ``perception`` | the current word, in text |
| ``next word`` | the word after it, in text |
| ``old plan`` | the word that the model was about to write when it was interrupted, in text |
| ``next unit`` | the unit that really comes |
| ``own token`` | the model's own first choice of what comes |
| ``text mass`` | all of text |

and for each a control at the same place: words of other clips (`TargetPlan`), or what comes at this
position behind a switch of another clip.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from slm_lens.lens.affinity import affinity
from slm_lens.lens.logit_lens import LogitLens
from slm_lens.lens.states import residual_stack
from slm_lens.lens.targets import TargetPlan, WordTargets
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.function_words import ENGLISH_FUNCTION_WORDS, word_type
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.studies.streams.options import StreamsOptions
from slm_lens.studies.streams.switches import Clip, Switch, utterances_of

INTERRUPTED, UNINTERRUPTED, ALONE = "interrupted", "uninterrupted", "alone"
CONDITIONS = (INTERRUPTED, UNINTERRUPTED, ALONE)
PERCEPTION, NEXT_WORD, OLD_PLAN = "perception", "next word", "old plan"
NEXT_UNIT, OWN_TOKEN, TEXT_MASS = "next unit", "own token", "text mass"
WORD_STREAMS, TOKEN_STREAMS = (PERCEPTION, NEXT_WORD, OLD_PLAN), (NEXT_UNIT, OWN_TOKEN)
ANOTHER = "another word"
"""One control word in place of the current one, for lags."""

TokenSet = tuple[int, ...]
Key = tuple[str, str, str]


@dataclass(frozen=True, eq=False)
class Streams:
    """What was read of one model.

    Attributes:
        switches: the switches.
        positions: relative to the switch, which is 0.
        values: by condition, stream and subset: ``[switch, layer, position]``; NaN where a switch
            has no such position, or the stream no meaning.
        controls: likewise, their controls.
        n_first: units of the first word that is heard; positions from 1 on.
        ends_s: ``[switch, position after the switch]``: seconds heard up to its end.
        word_type: number of the spelling of the first word that is heard.
        band: first and last layer of the band.
    """

    switches: tuple[Switch, ...]
    positions: tuple[int, ...]
    values: Mapping[Key, Float[np.ndarray, "switch layer pos"]]
    controls: Mapping[Key, Float[np.ndarray, "switch layer pos"]]
    n_first: Int[np.ndarray, " switch"]
    ends_s: Float[np.ndarray, "switch after"]
    word_type: Int[np.ndarray, " switch"]
    band: tuple[int, int]

    @property
    def clip(self) -> Int[np.ndarray, " switch"]:
        """Number of the clip of each switch."""
        return np.array([s.clip for s in self.switches])

    def in_band(self, values: Float[np.ndarray, "switch layer pos"]) -> np.ndarray:
        """Mean over the band, ``[switch, position]``."""
        return values[:, self.band[0] : self.band[1] + 1].mean(1)

    def after(self, values: np.ndarray) -> np.ndarray:
        """Positions behind the switch, from 1 on, of arrays that end with positions."""
        return values[..., self.positions.index(1) :]

    def in_first_word(self, values: Float[np.ndarray, "switch pos"]) -> np.ndarray:
        """Mean over the units of the first word that is heard, ``[switch]``."""
        after = self.after(values)
        inside = np.arange(1, after.shape[1] + 1) <= self.n_first[:, None]
        counted = inside & ~np.isnan(after)
        sums = np.where(counted, after, 0).sum(1)
        n = counted.sum(1)
        return np.divide(sums, n, out=np.full(len(sums), np.nan), where=n > 0)


def band_layers(n_layers: int, band: tuple[float, float]) -> tuple[int, int]:
    """First and last layer of a part of the depth.

    Args:
        n_layers: blocks of the model.
        band: depths.

    Returns:
        The layers inside.

    Raises:
        ValueError: there is none.
    """
    first, last = int(np.ceil(band[0] * n_layers)), int(np.floor(band[1] * n_layers))
    if first > last:
        raise ValueError(
            f"study streams: got band={band}, between two layers of a model of {n_layers} blocks, "
            "expected a band with a layer in it."
        )
    return first, last


def read_streams(
    model: HookedSLM, clips: Sequence[Clip], switches: tuple[Switch, ...], options: StreamsOptions
) -> Streams:
    """Read every switch.

    Args:
        model: the model.
        clips: the clips.
        switches: their switches.
        options: which positions, how many control words.

    Returns:
        What was read.
    """
    lens, plan = LogitLens(model), _Targets(model, clips, switches, options)
    positions = tuple(range(-options.n_before, options.horizon + 1))
    pieces: dict[Key, list[np.ndarray]] = {}
    control_pieces: dict[Key, list[np.ndarray]] = {}
    for number, stack in _stacks(model, clips, switches, options.horizon):
        for condition in CONDITIONS:
            read = _read(lens, plan, number, condition, stack[condition], positions)
            for (stream, within), (value, control) in read.items():
                key = condition, stream, within
                pieces.setdefault(key, []).append(value)
                control_pieces.setdefault(key, []).append(control)
    words = [word_type(clips[s.clip].spoken.words[s.word].word) for s in switches]
    return Streams(
        switches=switches,
        positions=positions,
        values={k: np.stack(v) for k, v in pieces.items()},
        controls={k: np.stack(v) for k, v in control_pieces.items()},
        n_first=np.array([_n_first(clips[s.clip], s) for s in switches]),
        ends_s=np.stack([_heard_s(clips[s.clip], s, options.horizon) for s in switches]),
        word_type=np.unique(words, return_inverse=True)[1],
        band=band_layers(int(model.cfg.n_layers), options.band),
    )


def _stacks(
    model: HookedSLM, clips: Sequence[Clip], switches: Sequence[Switch], horizon: int
) -> Iterator[tuple[int, dict[str, Float[Tensor, "layer pos d_model"]]]]:
    """States of the runs of each switch; those of a clip are computed once."""
    of_clip = -1
    spoken = torch.empty(0)
    for number, switch in enumerate(switches):
        if switch.clip != of_clip:
            of_clip = switch.clip
            spoken = residual_stack(model, clips[of_clip].spoken.tokens[None])[:, 0]
        cut = switch.interrupted.tokens[: switch.at + horizon + 1]
        alone = switch.alone.tokens[: switch.at_alone + horizon + 1]
        interrupted, begun = (residual_stack(model, t[None])[:, 0] for t in (cut, alone))
        yield number, {INTERRUPTED: interrupted, UNINTERRUPTED: spoken, ALONE: begun}


def _n_first(clip: Clip, switch: Switch) -> int:
    word = clip.spoken.words[switch.word]
    return word.end - word.start


def _heard_s(clip: Clip, switch: Switch, horizon: int) -> np.ndarray:
    """Seconds from the start of the word to the end of each unit; NaN behind the last one."""
    start = switch.at_spoken + 1
    ends = clip.ends_s[start : start + horizon].numpy()
    begins = clip.alignment.words[switch.word].start_s
    before = float(clip.ends_s[start - 1]) if start else np.nan
    if not np.isnan(before):
        begins = before  # the word's first unit begins where one ends
    return np.concatenate([ends - begins, np.full(horizon - len(ends), np.nan)])


class _Targets:
    """What each position of a run is read for."""

    def __init__(
        self,
        model: HookedSLM,
        clips: Sequence[Clip],
        switches: Sequence[Switch],
        options: StreamsOptions,
    ) -> None:
        self._clips, self._switches, self._n = clips, switches, options.n_draws
        self._words: dict[tuple[int, int], WordTargets] = {}
        self._rng = np.random.default_rng([options.seed, 1])
        self._plan = TargetPlan(
            model.vocab,
            utterances_of(clips),
            policy=model.word_policy,
            function_words=ENGLISH_FUNCTION_WORDS,
            word_counts=None,
            n_draws=options.n_draws,
            seed=options.seed,
        )

    def run(self, number: int, condition: str) -> tuple[SpeechTextSequence, int]:
        """A run of a switch, and the position of the switch in it."""
        switch = self._switches[number]
        if condition == INTERRUPTED:
            return switch.interrupted, switch.at
        if condition == ALONE:
            return switch.alone, switch.at_alone
        return self._clips[switch.clip].spoken, switch.at_spoken

    def at(self, number: int, condition: str, relative: int) -> list[TokenSet]:
        """Sets of a position: five streams without own token, then the draws of each."""
        switch = self._switches[number]
        sequence, at = self.run(number, condition)
        position = at + relative
        current = max((i for i, w in enumerate(sequence.words) if w.start <= position), default=-1)
        before = switch.word if condition == ALONE else 0  # words that this run does not have
        if current < 0:
            word_sets: list[TokenSet] = [()] * (2 + 2 * self._n)
        else:
            target = self._word(switch.clip, before + current)
            word_sets = [target.current, target.following]
            word_sets += self._draws(target.shuffled_current, switch)
            word_sets += self._draws(target.shuffled_next if target.following else (), switch)
        others = [_follows(*self.run(o, condition), relative) for o in self._others(switch)]
        return [*word_sets, (switch.planned,), _follows(sequence, at, relative), *others]

    def plan_draws(self, number: int) -> list[TokenSet]:
        """Control words of the old plan: those of the first word that is heard."""
        switch = self._switches[number]
        target = self._word(switch.clip, switch.word)
        return self._draws(target.shuffled_current, switch)

    def _word(self, clip: int, index: int) -> WordTargets:
        if (clip, index) not in self._words:
            words = self._clips[clip].spoken.words
            self._words[clip, index] = self._plan.word(clip, words, index)
        return self._words[clip, index]

    def _draws(self, sets: Sequence[TokenSet], switch: Switch) -> list[TokenSet]:
        """As many as wanted; those that would be the old plan are empty, and do not count."""
        kept = [() if switch.planned in s else s for s in sets]
        return [*kept, *[()] * (self._n - len(kept))]

    def _others(self, switch: Switch) -> list[int]:
        elsewhere = [i for i, s in enumerate(self._switches) if s.clip != switch.clip]
        return self._rng.choice(elsewhere, size=self._n).tolist()


def _follows(sequence: SpeechTextSequence, at: int, relative: int) -> TokenSet:
    """The token that comes after a position, if it is a unit."""
    after = at + relative + 1
    if not 0 < after < len(sequence) or sequence.kinds[after] != "speech":
        return ()
    return (int(sequence.tokens[after]),)


def _read(
    lens: LogitLens,
    targets: _Targets,
    number: int,
    condition: str,
    stack: Float[Tensor, "layer pos d_model"],
    relative: tuple[int, ...],
) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """Value and control of each stream and subset, ``[layer, position]``."""
    sequence, at = targets.run(number, condition)
    there = [r for r in relative if 0 <= at + r < len(sequence)]
    states = stack[:, [at + r for r in there]]  # the run was read as far as that
    own = lens.readout(states[-1], "top_k", within=["full"], k=1).top_k["full"].ids[:, 0].tolist()
    of_plan, n = targets.plan_draws(number), len(targets.plan_draws(number))
    sets = [
        [*targets.at(number, condition, r), *of_plan, (token,)]
        for r, token in zip(there, own, strict=True)
    ]
    read = affinity(lens, states, sets)
    filled = np.full((len(stack), len(relative), len(sets[0])), np.nan)
    columns = [relative.index(r) for r in there]

    def of(within: str) -> np.ndarray:
        every = filled.copy()
        every[:, columns] = read.of[within].numpy()
        return every

    found: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = {}
    last = len(sets[0]) - 1
    draws = {PERCEPTION: 2, NEXT_WORD: 2 + n, NEXT_UNIT: 4 + 2 * n, OLD_PLAN: 4 + 3 * n}
    true = {PERCEPTION: 0, NEXT_WORD: 1, OLD_PLAN: 2 + 2 * n, NEXT_UNIT: 3 + 2 * n, OWN_TOKEN: last}
    for within in ("text", "full"):
        values = of(within)
        for stream in WORD_STREAMS:
            control = _mean(values[..., draws[stream] : draws[stream] + n])
            found[stream, within] = values[..., true[stream]], control
        found[ANOTHER, within] = values[..., 2], values[..., 2]
    values = of("full")
    for stream in TOKEN_STREAMS:
        start = draws[NEXT_UNIT]
        found[stream, "full"] = values[..., true[stream]], _mean(values[..., start : start + n])
    mass = np.full(filled.shape[:2], np.nan)
    mass[:, columns] = read.mass.numpy()
    found[TEXT_MASS, "full"] = mass, np.full_like(mass, np.nan)
    return found


def _mean(draws: np.ndarray) -> np.ndarray:
    """Mean over draws that there are; NaN for none."""
    known = ~np.isnan(draws)
    n = known.sum(-1)
    sums = np.where(known, draws, 0).sum(-1)
    return np.divide(sums, n, out=np.full(sums.shape, np.nan), where=n > 0)
