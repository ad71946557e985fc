"""Prompts of facts as runs, written and spoken, and what their answers begin with.

A prompt is spoken in one breath with some word of its answer's kind after it, and cut there: alone
it would fall at its end, as a whole sentence does. The word is *not* the answer: the units are
normalised over the clip, and the sounds before a word depend on it, so that a cut before the
answer leaves a trace of it in the prompt.
"""

import torch

from slm_lens.model.hooked import HookedSLM
from slm_lens.organism.corpus import speak_sentences
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.word_span import Modality
from slm_lens.speech.synthesis import EspeakSynthesizer, Voice


class FactRuns:
    """Makes runs for one model.

    Attributes:
        model: reads them.
    """

    def __init__(self, model: HookedSLM) -> None:
        self.model = model
        self._synthesizer: EspeakSynthesizer | None = None  # started when something is spoken
        self._heard: dict[tuple[str, Voice, Modality], SpeechTextSequence] = {}

    def run(
        self, prompt: str, modality: Modality, continue_in: Modality, voice: Voice, following: str
    ) -> SpeechTextSequence:
        """A prompt as the model reads it.

        The modality to go on in is announced only where it changes: after text that goes on in
        text, another ``<text>`` is what the organism never read, and it loses its facts.

        Args:
            prompt: the sentence without its last word.
            modality: how it is given.
            continue_in: modality of what follows.
            voice: who speaks.
            following: the word with which it is spoken in one breath.

        Returns:
            The run, up to where the answer begins.
        """
        if modality == "speech":
            return without_last_word(self._spoken(prompt, following, voice, continue_in))
        announced = None if continue_in == "text" else continue_in
        return self.model.sequence_from_text(prompt, continue_in=announced)

    def first_unit(self, prompt: str, word: str, voice: Voice) -> int:
        """What a word begins with when it is spoken after a prompt.

        Args:
            prompt: the sentence before it.
            word: the word.
            voice: who speaks.

        Returns:
            Token id of the first unit of its span.

        Raises:
            ValueError: no unit carries the word.
        """
        run = self._spoken(prompt, word, voice, "speech")
        span = run.words[-1]
        if span.start == span.end:
            raise ValueError(
                f"first_unit: got {word!r} after {prompt!r}, which no unit carries, expected a "
                "word that is longer than a unit. Are these units of the organism?"
            )
        return int(run.tokens[span.start])

    def _spoken(
        self, prompt: str, word: str, voice: Voice, continue_in: Modality
    ) -> SpeechTextSequence:
        key = (f"{prompt} {word}", voice, continue_in)
        if key not in self._heard:
            self._synthesizer = self._synthesizer or EspeakSynthesizer()
            tokenizer = self.model.unit_tokenizer
            clip = speak_sentences(self._synthesizer, [key[0]], voice, tokenizer.sample_rate_hz)
            announced = None if continue_in == "speech" else continue_in
            self._heard[key] = self.model.sequence_from_units(
                tokenizer.encode(clip.waveform), clip.alignment, continue_in=announced
            )
        return self._heard[key]

    @torch.no_grad()
    def best(self, run: SpeechTextSequence, choices: dict[str, tuple[int, ...]]) -> str:
        """The likeliest of some answers after a run.

        Args:
            run: the run.
            choices: token ids of each answer, whose probabilities count together.

        Returns:
            The likeliest; the first of equal ones.
        """
        logits = self.model(run.tokens[None].to(self.model.cfg.device))[0, -1].float()
        scores = {word: logits[list(ids)].logsumexp(0).item() for word, ids in choices.items()}
        return max(scores, key=lambda word: scores[word])


def without_last_word(run: SpeechTextSequence) -> SpeechTextSequence:
    """A spoken run without its last word and the pause behind it; markers stay.

    Args:
        run: of at least two words.

    Returns:
        The run up to the end of the word before.
    """
    end = run.words[-2].end
    tail = max(i for i, kind in enumerate(run.kinds) if kind == "speech") + 1
    kept = [*range(end), *range(tail, len(run))]
    return SpeechTextSequence(run.tokens[kept], tuple(run.kinds[i] for i in kept), run.words[:-1])
