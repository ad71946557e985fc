"""The organism's little language: small stories about animals.

About 120 words, most of them long words that differ from the first sounds on. Three things make
the next word worth predicting, in text and in speech alike:

* **facts**: each animal has one home, one food, one colour and one job; each place one kind of
  weather and each food one taste. They hold in every story.
* **events**: random things that happen ("the tiger finds a ladder near the river"). They cannot
  be known, only heard.
* **repetition**: a story comes back to what it mentioned ("the ladder is heavy"), as real
  stories do; the words of an event can be predicted the second time, by copying them.

A share of the facts is *never spoken*: their sentences occur in written documents only. Whether
the model completes them after a spoken prompt shows whether speech reaches what it knows from
text. Stories are written like transcripts: lower case, no punctuation.

Source: ours; facts and their spoken test after Sternberg et al. 2026, arXiv:2606.22473.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

WORDS: dict[str, tuple[str, ...]] = {
    "animal": (
        "zebra", "elephant", "crocodile", "tiger", "kangaroo", "penguin", "octopus", "monkey",
        "giraffe", "camel", "dolphin", "rabbit", "flamingo", "buffalo", "leopard", "gorilla",
        "walrus", "hedgehog", "squirrel", "peacock",
    ),
    "place": (
        "savanna", "forest", "river", "mountain", "desert", "island", "village", "harbor",
        "garden", "castle",
    ),
    "food": (
        "banana", "carrot", "honey", "pepper", "tomato", "walnut", "biscuit", "lettuce", "melon",
        "yogurt",
    ),
    "colour": ("yellow", "purple", "orange", "crimson", "silver", "golden", "turquoise", "black"),
    "job": (
        "doctor", "painter", "farmer", "sailor", "teacher", "baker", "lawyer", "musician",
        "builder", "singer",
    ),
    "object": (
        "bicycle", "guitar", "hammer", "ladder", "basket", "pillow", "candle", "trumpet",
        "necklace", "whistle",
    ),
    "weather": ("windy", "rainy", "sunny", "foggy", "snowy", "muddy"),
    "taste": ("sweet", "bitter", "salty", "delicious", "juicy", "sour"),
    "quality": ("heavy", "tiny", "broken", "expensive", "ancient", "shiny", "dirty", "narrow"),
    "verb": (
        "lives", "eats", "works", "finds", "carries", "visits", "wants", "likes", "watches",
        "hides", "sleeps", "dances",
    ),
    "adverb": (
        "today", "tonight", "slowly", "quietly", "loudly", "happily", "proudly", "gently",
    ),
    "function": ("the", "a", "in", "is", "and", "to", "near", "with", "as", "every", "but", "for"),
}  # fmt: skip

RELATIONS = ("home", "food", "colour", "job", "weather", "taste")
_SUBJECT = {"home": "animal", "food": "animal", "colour": "animal", "job": "animal",
            "weather": "place", "taste": "food"}  # fmt: skip
_ANSWER = {"home": "place", "food": "food", "colour": "colour", "job": "job",
           "weather": "weather", "taste": "taste"}  # fmt: skip
_PROMPT = {
    "home": "the {} lives in the",
    "food": "the {} eats the",
    "colour": "every {} is",
    "job": "the {} works as a",
    "weather": "the {} is",
    "taste": "the {} is",
}


@dataclass(frozen=True)
class Fact:
    """Something that holds in every story.

    Attributes:
        relation: one of `RELATIONS`.
        subject: the animal, place or food it is about.
        answer: the word that completes it.
        spoken: False if its sentence never occurs in speech.
    """

    relation: str
    subject: str
    answer: str
    spoken: bool

    @property
    def prompt(self) -> str:
        """The sentence without its last word."""
        return _PROMPT[self.relation].format(self.subject)

    @property
    def counterfactuals(self) -> tuple[str, ...]:
        """The other words of the answer's kind."""
        return tuple(w for w in WORDS[_ANSWER[self.relation]] if w != self.answer)


@cache
def facts(*, unspoken_share: float = 0.3, seed: int = 0) -> tuple[Fact, ...]:
    """All facts of the language.

    Args:
        unspoken_share: share of the facts about animals that is never spoken.
        seed: seed of the draw of answers and of unspoken facts.

    Returns:
        One fact for each subject and relation.
    """
    generator = np.random.default_rng(seed)
    drawn = []
    for relation in RELATIONS:
        subjects, answers = WORDS[_SUBJECT[relation]], WORDS[_ANSWER[relation]]
        copies = -(-len(subjects) // len(answers))
        order = generator.permutation(list(answers) * copies)[: len(subjects)]
        n_unspoken = round(unspoken_share * len(subjects)) if _SUBJECT[relation] == "animal" else 0
        unspoken = set(generator.permutation(len(subjects))[:n_unspoken].tolist())
        drawn += [
            Fact(relation, s, str(a), i not in unspoken)
            for i, (s, a) in enumerate(zip(subjects, order, strict=True))
        ]
    return tuple(drawn)


def vocabulary() -> tuple[str, ...]:
    """Every word of the language, sorted.

    Returns:
        The words.
    """
    return tuple(sorted(w for words in WORDS.values() for w in words))


class StoryTeller:
    """Draws stories.

    Attributes:
        generator: source of randomness; stories follow from its state.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator
        self._facts = {(f.relation, f.subject): f for f in facts()}

    def story(self, *, spoken: bool) -> tuple[str, ...]:
        """One story of one to four sentences.

        Args:
            spoken: leave out the facts that are never spoken.

        Returns:
            The sentences, without punctuation.
        """
        hero = self._one("animal")
        plot = self.generator.choice(3, p=(0.5, 0.25, 0.25))
        if plot == 0:
            return tuple(self._portrait(hero, spoken))
        return tuple(self._find(hero) if plot == 1 else self._visit(hero, spoken))

    def event(self) -> tuple[str, ...]:
        """A story of random events, whose sentences are not fixed by the facts.

        Returns:
            The sentences, without punctuation; facts that are never spoken are left out.
        """
        found = self.generator.integers(2) == 0
        hero = self._one("animal")
        return tuple(self._find(hero) if found else self._visit(hero, True))

    def _one(self, kind: str, but: str = "") -> str:
        choices = [w for w in WORDS[kind] if w != but]
        return str(choices[self.generator.integers(len(choices))])

    def _known(self, relation: str, subject: str, spoken: bool) -> str | None:
        fact = self._facts[relation, subject]
        return fact.answer if fact.spoken or not spoken else None

    def _portrait(self, hero: str, spoken: bool) -> list[str]:
        """What is known of one animal, and of the place and food that this leads to."""
        told: list[str] = []
        for relation in self.generator.permutation(["home", "food", "colour", "job"]):
            answer = self._known(str(relation), hero, spoken)
            if answer is None:
                continue
            told.append(f"{self._facts[str(relation), hero].prompt} {answer}")
            follow = {"home": "weather", "food": "taste"}.get(str(relation))
            if follow is not None and self.generator.random() < 0.7:
                told.append(f"the {answer} is {self._facts[follow, answer].answer}")
            if len(told) >= 3:
                break
        return told or self._find(hero)

    def _find(self, hero: str) -> list[str]:
        """An animal finds a thing somewhere and does something with it."""
        thing, place = self._one("object"), self._one("place")
        goal = self._one("place", but=place)
        told = [
            f"the {hero} finds a {thing} near the {place}",
            f"the {thing} is {self._one('quality')}",
            f"the {hero} carries the {thing} to the {goal}" + self._for(hero),
            self._closing(hero, goal),
        ]
        if self.generator.random() < 0.5:
            told[1] = f"the {hero} wants the {thing} but the {place} is " + str(
                self._facts["weather", place].answer
            )
        return told

    def _visit(self, hero: str, spoken: bool) -> list[str]:
        """An animal meets another; its home is a fact, the guest and the gift are not."""
        guest, thing = self._one("animal", but=hero), self._one("object")
        home = self._known("home", hero, spoken)
        where = f" in the {home}" if home is not None else ""
        verb = ("visits", "watches")[self.generator.integers(2)]
        told = [
            f"the {guest} {verb} the {hero}{where} {self._one('adverb')}",
            f"the {guest} hides a {thing} and the {hero} wants the {thing}",
        ]
        food = self._known("food", hero, spoken)
        if food is not None and self.generator.random() < 0.5:
            told.append(f"the {hero} eats the {food} with the {guest}")
        else:
            told.append(f"the {hero} likes the {thing} and the {guest}")
        return told

    def _for(self, hero: str) -> str:
        return f" for the {self._one('animal', but=hero)}" if self.generator.random() < 0.3 else ""

    def _closing(self, hero: str, place: str) -> str:
        verb = ("sleeps", "dances")[self.generator.integers(2)]
        return f"the {hero} {verb} {self._one('adverb')} in the {place}"
