"""What the organism can do: the figures of its model card.

All of it is measured on stories and sentences that were spoken for the test; the facts' prompts
are spoken whole, in voices of the training.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from slm_lens.organism.corpus import (
    TRAINING_VOICES,
    SpokenStory,
    draw_voice,
    speak_sentences,
    to_spoken_story,
)
from slm_lens.organism.language import WORDS, Fact, facts
from slm_lens.speech.mfcc import MfccKMeans
from slm_lens.speech.synthesis import EspeakSynthesizer

_FACT_SEED = 4
_N_COUNTERFACTUALS = 3


@dataclass(frozen=True)
class SpokenFact:
    """A fact as prompt and completions, all spoken.

    Attributes:
        fact: the fact.
        prompt: the prompt; its last word's units end where the answer's begin.
        right: prompt and answer in one breath.
        wrong: prompt and another word of the answer's kind, each in one breath.
    """

    fact: Fact
    prompt: SpokenStory
    right: SpokenStory
    wrong: tuple[SpokenStory, ...]


def speak_facts(unit_tokenizer: MfccKMeans) -> tuple[SpokenFact, ...]:
    """Speak every fact of the language, with wrong answers beside the right one.

    Args:
        unit_tokenizer: turns the clips into units.

    Returns:
        One entry for each fact.
    """
    synthesizer = EspeakSynthesizer()
    spoken = []
    for i, fact in enumerate(facts()):
        generator = np.random.default_rng([_FACT_SEED, i])
        voice = draw_voice(generator, TRAINING_VOICES)
        wrong = generator.permutation(fact.counterfactuals)[:_N_COUNTERFACTUALS].tolist()

        def say(answer: str, fact: Fact = fact, voice=voice) -> SpokenStory:
            clip = speak_sentences(
                synthesizer, [f"{fact.prompt} {answer}"], voice, unit_tokenizer.sample_rate_hz
            )
            return to_spoken_story(clip, unit_tokenizer)

        right = say(fact.answer)
        prompt = SpokenStory(right.words[:-1], right.units[: right.spans[-2][1]], right.spans[:-1])
        spoken.append(SpokenFact(fact, prompt, right, tuple(map(say, wrong))))
    return tuple(spoken)


class OrganismJudge:
    """Measures one model.

    Attributes:
        model: the model, in evaluation mode.
    """

    def __init__(self, model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
        self.model = model
        self._ids = tokenizer.get_vocab()
        self._word = {w: self._ids[f" {w}"] for kind in WORDS.values() for w in kind}
        self._word_ids = torch.tensor(sorted(self._word.values()))

    @torch.no_grad()
    def logits(self, tokens: Sequence[int]) -> Float[Tensor, "pos d_vocab"]:
        """Logits of one sequence.

        Args:
            tokens: token ids.

        Returns:
            Scores of the next token at every position.
        """
        device = self.model.device
        return self.model(torch.tensor([list(tokens)], device=device)).logits[0].float().cpu()

    def speech(self, story: SpokenStory) -> list[int]:
        """A story as spoken tokens, announced by its marker.

        Args:
            story: the story.

        Returns:
            Token ids.
        """
        units = story.units.astype(np.int64) + self._ids["<Un0>"]
        return [self._ids["<speech>"], *units.tolist()]

    def text(self, words: Sequence[str]) -> list[int]:
        """Words as written tokens, announced by the marker of text.

        Args:
            words: the words.

        Returns:
            Token ids.
        """
        return [self._ids["<text>"], *(self._word[w] for w in words)]

    def best_word(self, tokens: Sequence[int]) -> int:
        """The whole word that the model puts first after a prompt.

        Args:
            tokens: token ids of the prompt, ending where text is expected.

        Returns:
            Token id of the word.
        """
        return int(self._word_ids[self.logits(tokens)[-1, self._word_ids].argmax()])

    def language_scores(self, stories: Sequence[SpokenStory]) -> dict[str, float]:
        """Cross-entropy and accuracy of the next token, by modality.

        Args:
            stories: spoken stories that were not trained on.

        Returns:
            Nats a token and share right, for units and for words; the share of next *words* that
            are right after a spoken prefix is under ``next_word_accuracy_after_speech``.
        """
        unit_losses, unit_hits, word_losses, word_hits, after_speech = [], [], [], [], []
        for story in stories:
            for tokens, losses, hits in (
                (self.speech(story), unit_losses, unit_hits),
                (self.text(story.words), word_losses, word_hits),
            ):
                logits, target = self.logits(tokens)[:-1], torch.tensor(tokens[1:])
                losses += torch.nn.functional.cross_entropy(
                    logits, target, reduction="none"
                ).tolist()
                hits += (logits.argmax(-1) == target).tolist()
            after_speech += self._words_after_speech(story)
        return {
            "unit_cross_entropy_nats": float(np.mean(unit_losses)),
            "next_unit_accuracy": float(np.mean(unit_hits)),
            "text_cross_entropy_nats": float(np.mean(word_losses)),
            "next_word_accuracy_after_text": float(np.mean(word_hits)),
            "next_word_accuracy_after_speech": float(np.mean(after_speech)),
        }

    def _words_after_speech(self, story: SpokenStory) -> list[bool]:
        tokens = self.speech(story)
        hits = []
        for i in range(len(story.words) - 1):
            prompt = [*tokens[: 1 + story.spans[i][1]], self._ids["<text>"]]
            hits.append(self.best_word(prompt) == self._word[story.words[i + 1]])
        return hits

    def fact_scores(self, spoken_facts: Sequence[SpokenFact]) -> dict[str, float]:
        """Share of facts that the model completes rightly.

        Args:
            spoken_facts: from `speak_facts`.

        Returns:
            For the facts about animals, by whether they were ever spoken in training: answered in
            text from a written prompt (``text``), answered in text from a spoken prompt
            (``speech``), and in speech alone, the right completion likelier than a wrong one
            (``pairs``; chance 0.5, mean log-likelihood a unit over the answer, 0.5 for a tie).
        """
        scores: dict[str, list[float]] = {}
        for item in spoken_facts:
            if item.fact.relation in ("weather", "taste"):
                continue
            kind = "spoken" if item.fact.spoken else "never_spoken"
            answer = self._word[item.fact.answer]
            written = self.best_word(self.text(item.prompt.words))
            heard = self.best_word([*self.speech(item.prompt), self._ids["<text>"]])
            scores.setdefault(f"{kind}_from_text", []).append(written == answer)
            scores.setdefault(f"{kind}_from_speech", []).append(heard == answer)
            right = self._answer_score(item.right)
            for wrong in map(self._answer_score, item.wrong):
                outcome = 0.5 if right == wrong else float(right > wrong)
                scores.setdefault(f"{kind}_pairs_in_speech", []).append(outcome)
        return {name: float(np.mean(values)) for name, values in scores.items()}

    def _answer_score(self, story: SpokenStory) -> float:
        """Mean log-likelihood of the units of the last word and what follows it."""
        tokens = self.speech(story)
        start = 1 + story.spans[-1][0]
        log_p = self.logits(tokens[:-1]).log_softmax(-1)
        target = torch.tensor(tokens[1:])
        scored = log_p.gather(1, target[:, None])[start - 1 :, 0]
        return float(scored.mean())
