"""Where control words come from: every word of the data set, whatever is read when."""

from collections import Counter

import numpy as np
import pytest

from slm_lens.lens.control_words import N_NEAREST, CorpusWords, WordPool

SAID = [("a", ["fox", "Fox,", "owl"]), ("b", ["dog", "fox"]), ("c", []), ("d", ["owl", "owl"])]


def pool_of(words, counts=None, tokens=lambda w: (hash(w) % 2**31,)):
    return WordPool(words, lambda _: True, tokens, words.counts() if counts is None else counts)


def names_of(drawn, words, tokens=lambda w: (hash(w) % 2**31,)):
    by = {tokens(w): w for w in words.spellings}
    return [by[d] for d in drawn]


def test_words_are_kept_in_order_and_counted_by_type():
    words = CorpusWords.of(SAID)
    assert (words.names, words.spellings) == (("a", "b", "c", "d"), ("fox", "Fox,", "owl", "dog"))
    assert words.utterance.tolist() == [0, 0, 0, 1, 1, 3, 3]
    assert words.spelling.tolist() == [0, 1, 2, 3, 0, 2, 2]
    assert words.counts() == Counter({"fox": 3, "owl": 3, "dog": 1})
    assert CorpusWords.of([]).counts() == Counter()


def test_a_words_random_numbers_depend_on_seed_name_and_place_alone():
    words = CorpusWords.of(SAID)
    numbers = {
        (seed, u, i): tuple(words.generator(seed, u, i).integers(2**60, size=2).tolist())
        for seed in (0, 1)
        for u in range(4)
        for i in range(3)
    }
    assert len(set(numbers.values())) == len(numbers)
    other = CorpusWords.of([("z", ["x"]), ("b", ["other", "words"])])
    assert tuple(other.generator(1, 1, 2).integers(2**60, size=2).tolist()) == numbers[1, 1, 2]


def test_shuffled_words_are_found_by_trying_and_by_looking_with_the_same_shares():
    """One word in two hundred qualifies: trying finds few, so the list of all is drawn from."""
    common, rare = [("a", ["fox"] * 995)], [("b", ["owl"] * 2 + ["dog"] * 3)]
    words = CorpusWords.of(common + rare)
    pool, rng = pool_of(words), np.random.default_rng(0)
    drawn = names_of(pool.shuffled(rng, (-1,), 0, 4000), words)
    assert set(drawn) == {"owl", "dog"}
    assert drawn.count("dog") / 4000 == pytest.approx(0.6, abs=3 * (0.24 / 4000) ** 0.5)
    fox = pool.shuffled(rng, (-1,), 1, 50)
    assert set(names_of(fox, words)) == {"fox"}
    assert pool.shuffled(rng, (hash("fox") % 2**31,), 1, 3) == ()  # no other word is left


def test_ties_in_frequency_are_drawn_evenly_and_the_word_itself_never():
    """Three types are nearer than the rest; thirty tie for the seven places that are left."""
    near, far = ["n0", "n1", "n2"], [f"f{i:02d}" for i in range(30)]
    words = CorpusWords.of([("a", [*near, *far, "x", "twin"])])
    counts = {**dict.fromkeys(near, 10), **dict.fromkeys(far, 100), "x": 10, "twin": 10}
    tokens = lambda w: (7,) if w in ("x", "twin") else (hash(w) % 2**31,)  # noqa: E731
    pool = pool_of(words, counts, tokens)
    seen: Counter[str] = Counter()
    n = 3000
    for i in range(n):
        drawn = pool.matched(np.random.default_rng(i), "x", (7,), float(np.log1p(10)), 1)
        seen.update(names_of(drawn, words, tokens))
    assert set(seen) == {*near, *far}  # neither x, nor its twin with the same token
    assert sum(seen[w] for w in near) / n == pytest.approx(3 / N_NEAREST, abs=0.03)
    share = 7 / N_NEAREST / 30
    deviation = (share * (1 - share) / n) ** 0.5
    assert all(abs(seen[w] / n - share) < 5 * deviation for w in far)


def test_two_frequencies_of_one_distance_tie():
    words = CorpusWords.of([("a", ["x", *(f"{s}{i}" for s in "lh" for i in range(20))])])
    # log(0 + 1) and log(3 + 1) are equally far from log(1 + 1).
    counts = {w: {"l": 0, "h": 3, "x": 1}[w[0]] for w in words.spellings}
    pool = pool_of(words, counts)
    drawn = []
    for i in range(400):
        rng = np.random.default_rng(i)
        drawn += names_of(pool.matched(rng, "x", (-1,), float(np.log1p(1)), 5), words)
    assert 0.3 < sum(w[0] == "l" for w in drawn) / len(drawn) < 0.7
    empty = CorpusWords.of([("a", ["x"])])
    assert pool_of(empty).matched(np.random.default_rng(0), "x", (1,), 1.0, 3) == ()
