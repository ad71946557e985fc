"""Classes of errors, and the neighbours and permutations that they are compared with."""

import numpy as np
import pytest
import torch

from slm_lens import (
    ERROR_CLASSES,
    WordErrors,
    permuted_recall,
    recall_excess,
    token_neighbours,
    word_lens,
)
from slm_lens.lens.word_errors import token_type

WRITTEN = {
    0: " night", 1: "Knight", 2: " kn", 3: " day", 4: " light", 5: " k", 6: ",", 7: " fast",
    8: " falls", 9: " n", 10: "'s",
}  # fmt: skip
SOUNDS = {
    "night": ("n", "aɪ", "t"), "knight": ("n", "aɪ", "t"), "kn": ("k", "n"), "day": ("d", "eɪ"),
    "light": ("l", "aɪ", "t"), "k": ("k", "eɪ"), ",": (), "fast": ("f", "a", "s", "t"),
    "falls": ("f", "ɔː", "l", "z"), "n": ("ɛ", "n"), "'s": ("ɛ", "s"), "s": ("ɛ", "s"),
}  # fmt: skip
COUNTS = {"knight": (1, 2), "night": (0,), "falls": (8,), "s": ()}


def knower(most_distant=0.4):
    return WordErrors(
        written=WRITTEN,
        counts_as=lambda word: COUNTS[word],
        sounds=SOUNDS,
        neighbours={"knight": (7, 0), "night": (3,), "falls": (), "s": ()},
        most_distant=most_distant,
    )


@pytest.mark.parametrize(
    ("token", "word", "next_word", "expected"),
    [
        (1, "knight", "falls", "exact"),  # case aside
        (1, "knight", "knight", "exact"),  # before the next word
        (8, "knight", "falls", "next word"),
        (0, "knight", "night", "next word"),  # before a homophone
        (2, "night", "knight", "next word"),  # counts as "knight"
        (2, "knight", "falls", "build-up"),
        (5, "knight", None, "build-up"),
        (0, "knight", "falls", "sounds alike"),  # also a neighbour, which comes later
        (4, "night", "falls", "sounds alike"),  # 1 of 3 phonemes
        (7, "knight", "falls", "semantic neighbour"),
        (3, "night", None, "semantic neighbour"),
        (3, "knight", "falls", "other"),
        (6, "knight", "falls", "other"),
        (10, "s", None, "sounds alike"),  # "'s" is no "s", but is said so
    ],
)
def test_classes_by_hand(token, word, next_word, expected):
    assert knower().classify(token, word, next_word) == expected


def test_the_limit_is_what_it_says():
    assert knower(0.34).classify(4, "night", None) == "sounds alike"
    assert knower(0.33).classify(4, "night", None) == "other"
    assert knower().distance(4, "night") == pytest.approx(1 / 3)
    assert knower().distance(9, "night") == np.inf  # a letter, whose name is no sound of it
    with pytest.raises(ValueError, match=r"got most_distant=1.0, expected a distance from 0"):
        knower(1.0)


def test_tables_have_the_classes_of_one_by_one():
    words = ["knight", "night", "falls"]
    errors, tokens = knower(), sorted(WRITTEN)
    tables = errors.tables(tokens, words)
    for w, word in enumerate(words):
        for f, following in enumerate(words):
            (found,) = tables.classes(np.arange(len(tokens))[None], np.array([w]), np.array([f]))
            one_by_one = [errors.classify(t, word, following) for t in tokens]
            assert [ERROR_CLASSES[c] for c in found] == one_by_one


def test_tokens_keep_their_punctuation():
    assert [token_type(t) for t in (" The", "'s", "\n")] == ["the", "'s", ""]


def test_neighbours_are_those_of_numpy():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 8)) + 5.0  # a large common part
    candidates = np.arange(3, 33)
    own = [(5,), (), (7, 8)]
    found = token_neighbours(torch.from_numpy(rows).float(), torch.from_numpy(candidates), own, n=4)
    centred = rows - rows[candidates].mean(0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    for word, near in zip(own, found, strict=True):
        if not word:
            assert near == ()
            continue
        cosine = (unit @ unit[list(word)].T).max(1)
        others = [c for c in candidates if c not in word]
        assert list(near) == sorted(others, key=lambda c: -cosine[c])[:4]


def test_neighbours_across_parts_of_the_vocabulary(monkeypatch):
    rows = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    ids, own = torch.arange(50), [(3,), (49, 10)]
    whole = token_neighbours(rows, ids, own, n=7)
    monkeypatch.setattr("slm_lens.lens.token_neighbours._ROWS_AT_ONCE", 8)
    assert token_neighbours(rows, ids, own, n=7) == whole
    assert len(token_neighbours(rows, ids, own, n=80)[1]) == 48  # all but its own


def test_neighbours_refuse_what_is_no_row():
    rows = torch.eye(4)
    with pytest.raises(ValueError, match=r"got n=0.*expected n >= 1"):
        token_neighbours(rows, torch.arange(4), [(0,)], n=0)
    with pytest.raises(ValueError, match=r"ids \[9\] outside 4 rows"):
        token_neighbours(rows, torch.arange(4), [(9,)], n=1)


def test_permuted_recall_by_hand():
    # Two words: their only permutation without itself exchanges them.
    top = np.array([[[0, 5], [1, 0]], [[0, 7], [2, 2]], [[1, 9], [0, 9]]])  # [word, layer, k]
    found = permuted_recall(
        top, ["a", "a", "b"], {"a": (0, 5), "b": (1,), "c": (2,)}, n_permutations=3, seed=0
    )
    # layer 0: a hit, a hit, b hit; exchanged: no 1, no 1, no 0 in [1, 9].
    # layer 1: a hit (0 in [1, 0]), a no, b no; exchanged: 1 in [1, 0], no, 0 in [0, 9].
    assert found.recall == pytest.approx([1.0, 1 / 3])
    assert found.permuted == pytest.approx(np.tile([0.0, 2 / 3], (3, 1)))
    assert (found.any_layer, found.n_words, found.n_types) == (1.0, 3, 2)
    assert found.any_layer_permuted == pytest.approx([2 / 3] * 3)
    assert found.p_value == pytest.approx(1 / 4)


def test_words_without_tokens_do_not_count_and_ties_count_against():
    top = np.zeros((3, 1, 1), dtype=np.int64)
    found = permuted_recall(
        top, ["a", "b", "c"], {"a": (0,), "b": (1,), "c": ()}, n_permutations=4, seed=0
    )
    assert (found.n_words, found.recall.tolist(), found.p_value) == (2, [0.5], 1.0)


def test_permuted_recall_refuses_what_cannot_be_permuted():
    top = np.zeros((2, 1, 1), dtype=np.int64)
    with pytest.raises(ValueError, match=r"1 different words with tokens.*two different words"):
        permuted_recall(top, ["a", "b"], {"a": (0,), "b": ()})
    with pytest.raises(ValueError, match=r"got 2 rows for 1 words"):
        permuted_recall(top, ["a"], {"a": (0,)})
    with pytest.raises(ValueError, match=r"n_permutations=0"):
        permuted_recall(top, ["a", "b"], {"a": (0,), "b": (1,)}, n_permutations=0)


@pytest.mark.slow
def test_p_values_of_nothing_are_uniform():
    """200 tables of pure chance; a word is said 8 times and always finds the same tokens."""
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(12) for _ in range(8)]
    tokens = {f"w{i}": (i,) for i in range(12)}
    p_values = []
    for seed in range(200):
        top = np.stack([rng.permuted(np.tile(np.arange(12), (7, 1)), axis=1)[:, :5]
                        for _ in range(12)]).repeat(8, 0)  # fmt: skip
        found = permuted_recall(top, words, tokens, n_permutations=20, seed=seed)
        p_values.append(found.p_value)
    # One of 21 at most, less with ties: 9.5 of 200 are expected, with a deviation of 3.
    assert np.sum(np.array(p_values) <= 0.05) <= 9.5 + 3 * 3
    assert np.mean(np.array(p_values) <= 0.5) >= 0.3


def test_excess_by_hand(tiny_words):
    model, utterances = tiny_words
    table = word_lens(model, utterances, function_words=frozenset(), policy="whole_word", n_draws=5)
    curve = recall_excess(
        table, target="current", pool="max", k=3, words="all", n_bootstrap=50, seed=0
    )
    rows = table.table.filter(layer=1).drop_nulls("rank_current_text_max")
    by_hand = [
        (rank <= 3) - np.mean([r <= 3 for r in drawn])
        for rank, drawn in rows.select(
            "rank_current_text_max", "shuffled_current_text_max"
        ).iter_rows()
    ]
    assert curve.estimate[1] == pytest.approx(np.mean(by_hand))
    assert curve.n_words == len(by_hand)
    none = word_lens(model, utterances, function_words=frozenset(), policy="whole_word", n_draws=0)
    with pytest.raises(ValueError, match=r"n_draws=0, expected .*shuffled words"):
        recall_excess(none, target="current", pool="max", k=3)
    with pytest.raises(ValueError, match=r"got k=0"):
        recall_excess(table, target="current", pool="max", k=0)


@pytest.fixture(scope="module")
def tiny_words():
    from planted import planted_clips, planted_model, spoken

    model = planted_model(planted=False, seed=3)
    return model, [spoken(c) for c in planted_clips(6, seed=2)]
