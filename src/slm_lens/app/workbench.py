"""What a visitor of the app can do, step by step. Knows no gradio and no visitor.

A workbench holds the models, which are not changed, and nothing else: what somebody heard is in
their own session and comes in as an argument. Steps are made one at a time, whoever asks, and hold
nothing between them, so that a run can be stopped between two steps.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from slm_lens.app.cards import framed, heard_card, patching_card, steered_card
from slm_lens.app.comparison import compared
from slm_lens.app.counterfactual import by_place, counterfactual, patch_layers
from slm_lens.app.hearing import Heard, listen, speak, with_word
from slm_lens.app.limits import Limits
from slm_lens.app.prompts import Announced, prompt_of, units_of
from slm_lens.app.steering import steer_heard
from slm_lens.app.unit_sounds import UnitSounds, unit_sounds
from slm_lens.interventions.pairs.run_pair import Direction
from slm_lens.interventions.site import SiteKind
from slm_lens.lens._runs import ONE_AT_A_TIME
from slm_lens.model.hooked import HookedSLM
from slm_lens.sequence.streams import phonetic_units
from slm_lens.studies.explore import explore


@dataclass(frozen=True)
class Step:
    """How far something is, and what there is to show so far.

    Attributes:
        done: steps that are made.
        total: steps in all.
        html: what to show.
    """

    done: int
    total: int
    html: str


class Workbench:
    """Models, and what can be done with them.

    Args:
        models: by the names under which they are offered, the first one first.
        limits: the largest inputs.

    Attributes:
        models: as given.
        limits: as given.

    Raises:
        ValueError: there is no model.
    """

    def __init__(self, models: Mapping[str, HookedSLM], limits: Limits | None = None) -> None:
        if not models:
            raise ValueError("Workbench: got no model, expected at least one.")
        self.models = dict(models)
        self.limits = limits or Limits()
        self._sounds: Callable[[str], UnitSounds] = cache(self._cut)

    def model(self, name: str) -> HookedSLM:
        """A model by its name.

        Args:
            name: one of those offered.

        Returns:
            The model.

        Raises:
            LookupError: it is not offered.
        """
        if name not in self.models:
            raise LookupError(f"got the model {name!r}, expected one of {list(self.models)}.")
        return self.models[name]

    def hear_text(self, name: str, text: str, voice: str) -> Heard:
        """A typed sentence, spoken.

        Args:
            name: the model that will read it.
            text: the sentence.
            voice: name of an espeak-ng voice.

        Returns:
            The clip.
        """
        return speak(text, voice, self._rate_hz(name), self.limits)

    def hear_clip(
        self, name: str, path: str | Path | None, words_file: str | Path | None, transcript: str
    ) -> Heard:
        """An uploaded or recorded clip.

        Args:
            name: the model that will read it.
            path: the sound file; None if nothing was given.
            words_file: its word times; None for none.
            transcript: what is said; empty if it is not known.

        Returns:
            The clip.

        Raises:
            ValueError: there is no sound file.
        """
        if path is None:
            raise ValueError("got no sound, expected a file or a recording. Upload or record one.")
        return listen(
            path, self._rate_hz(name), self.limits, words_file=words_file, transcript=transcript
        )

    def look(self, name: str, heard: Heard | None) -> Iterator[Step]:
        """Sound, units, words, lens grid, attention, attribution.

        Args:
            name: the model.
            heard: the clip; None if there is none yet.

        Yields:
            The clip, then everything.
        """

        def steps() -> Iterator[Step]:
            clip, model = _something(heard), self.model(name)
            n_units = len(phonetic_units(units_of(model, clip)))
            yield Step(0, 1, heard_card(clip, n_units))
            sound = clip.at(self._rate_hz(name))
            found = explore(model, sound.waveform, alignment=clip.alignment, name=clip.name)
            yield Step(1, 1, heard_card(clip, n_units, player=False) + framed(found))

        return _one_at_a_time(steps())

    def patch(
        self,
        name: str,
        heard: Heard | None,
        *,
        word: int,
        replacement: str,
        voice: str,
        n_words: int | None,
        announce: Announced,
        answer: str,
        foil: str,
        kind: SiteKind,
        direction: Direction,
    ) -> Iterator[Step]:
        """Exchange a word, and patch the run with the one word into the run with the other.

        Both sentences are spoken by `voice`, whatever voice was heard.

        Args:
            name: the model.
            heard: a clip with words.
            word: number of the word to exchange, from 0.
            replacement: what to put there.
            voice: name of an espeak-ng voice.
            n_words: words of the prompt; None for all.
            announce: modality that is announced behind it.
            answer: what should follow the sentence; empty for what the model finds likeliest.
            foil: what should follow the other one.
            kind: which activation is moved.
            direction: which run is patched.

        Yields:
            The heat map as it grows, layer by layer.
        """

        def steps() -> Iterator[Step]:
            clip, model = _something(heard), self.model(name)
            other = with_word(clip, word, replacement, self.limits)
            rate_hz = self._rate_hz(name)
            both = [speak(s, voice, rate_hz, self.limits) for s in (" ".join(clip.words), other)]
            given = counterfactual(
                model, *both, announce=announce, n_words=n_words, answer=answer, foil=foil
            )
            found = patch_layers(model, given, kind=kind, direction=direction)
            for done, patching in enumerate(found, start=1):
                table = by_place(given, patching)
                card = patching_card(given.places, table, patching, given.answer, given.foil)
                yield Step(done, model.cfg.n_layers, card)

        return _one_at_a_time(steps())

    def compare(self, name: str, other: str, heard: Heard | None) -> Iterator[Step]:
        """One clip, two models.

        Args:
            name: one model.
            other: the other one.
            heard: the clip.

        Yields:
            What is known after each of them.
        """

        def steps() -> Iterator[Step]:
            clip, models = _something(heard), {n: self.model(n) for n in (name, other)}
            if len(models) < 2:
                raise ValueError(f"got {name!r} twice, expected two different models.")
            for done, html in enumerate(compared(models, clip), start=1):
                yield Step(done, len(models), html)

        return _one_at_a_time(steps())

    def steer(
        self,
        name: str,
        heard: Heard | None,
        *,
        toward: str,
        strength: float,
        layer: int,
        n_words: int | None,
        announce: Announced,
        max_new_tokens: int,
        temperature: float,
        seed: int = 0,
    ) -> Iterator[Step]:
        """Continue the clip as the model is, and with a vector added.

        Args:
            name: the model.
            heard: the clip.
            toward: ``"text"``, ``"speech"``, or a word.
            strength: of the vector, in lengths of the states.
            layer: block behind which it is added.
            n_words: words of the prompt; None for all.
            announce: modality that is announced behind it.
            max_new_tokens: most tokens to generate.
            temperature: 0 for the likeliest token at each step.
            seed: seed of the sampling.

        Yields:
            The first continuation, then both.
        """

        def steps() -> Iterator[Step]:
            clip, model = _something(heard), self.model(name)
            prompt = prompt_of(model, clip, announce=announce, n_words=n_words)
            found, played = [], []
            total = 1 if strength == 0 else 2
            for one in steer_heard(
                model, prompt, toward, strength, layer=layer, max_new_tokens=max_new_tokens,
                temperature=temperature, seed=seed, limits=self.limits,
            ):  # fmt: skip
                sounds = self._sounds(name)
                found.append(one)
                heard_units = len(one.units) > sounds.missing(one.units)
                played.append(sounds.sound(one.units) if heard_units else None)
                yield Step(len(found), total, steered_card(found, played, sounds.sample_rate_hz))

        return _one_at_a_time(steps())

    def _rate_hz(self, name: str) -> int:
        return self.model(name).unit_tokenizer.sample_rate_hz

    def _cut(self, name: str) -> UnitSounds:
        return unit_sounds(self.model(name))


def _something(heard: Heard | None) -> Heard:
    if heard is None:
        raise ValueError("got nothing to read, expected a sentence or a clip. Type or record one.")
    return heard


def _one_at_a_time(steps: Iterator[Any]) -> Iterator[Any]:
    """The same steps, each made while no other model run is under way."""
    while True:
        with ONE_AT_A_TIME:
            try:
                step = next(steps)
            except StopIteration:
                return
        yield step
