"""Training documents against the sequences that the toolkit itself builds."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from tiny_organism import made_up_stories

from slm_lens.organism.corpus import N_UNITS, SpokenStory, training_story
from slm_lens.organism.documents import DOCUMENT_KINDS, NO_WORD, DocumentWriter, Mixture
from slm_lens.organism.language import WORDS, vocabulary
from slm_lens.organism.tokenizer import n_text_tokens, speech_text_tokenizer, text_tokenizer
from slm_lens.sequence.sequence import SpeechTextSequence
from slm_lens.sequence.spans import select_spoken_words, word_unit_spans
from slm_lens.speech.alignment import AlignedWord, Alignment
from slm_lens.speech.units import Units
from slm_lens.vocab import SpeechTextVocab

TOKENIZER = speech_text_tokenizer(N_UNITS)
IDS = TOKENIZER.get_vocab()
SPEECH, TEXT, EOS = IDS["<speech>"], IDS["<text>"], IDS["<eos>"]
UN0 = n_text_tokens()
LABELS = {i: t for t, i in IDS.items()}


def writer(stories=None):
    return DocumentWriter(TOKENIZER, made_up_stories() if stories is None else stories)


def only(kind, **options):
    return Mixture(**{k: float(k == kind) for k in DOCUMENT_KINDS} | options)


def documents(mixture, n=20, of=None, seed=0):
    generator, of = np.random.default_rng(seed), of or writer()
    return [of.document(mixture, generator) for _ in range(n)]


def written(tokens):
    return str(TOKENIZER.decode(tokens))


def is_unit(token):
    return UN0 <= token < UN0 + N_UNITS


@pytest.fixture(scope="module")
def vocab():
    return SpeechTextVocab(
        d_vocab=len(TOKENIZER),
        text=range(3, n_text_tokens()),
        streams={"units": range(UN0, UN0 + N_UNITS)},
        markers={"speech": SPEECH, "text": TEXT},
        specials={"<pad>": 0, "<eos>": 1, "<unk>": 2},
        padding=[],
        encode_text=TOKENIZER.encode,
        labels=LABELS,
    )


def test_shares_become_probabilities():
    assert Mixture(text=1.0, interleaved=2.0, speech=1.0).weights.tolist() == [0.25, 0.5, 0.25, 0]


def test_rows_are_full_and_begin_with_a_document():
    mixture = Mixture(interleaved=1.0, speech=1.0, transcribed=1.0, marked_share=1.0)
    tokens, words = writer().rows(mixture, 5, 80, np.random.default_rng(0))
    assert tokens.shape == words.shape == (5, 80)
    assert tokens.dtype == words.dtype == torch.int64
    assert set(tokens[:, 0].tolist()) <= {SPEECH, TEXT}
    after_the_end = tokens[:, 1:][tokens[:, :-1] == EOS].tolist()
    assert after_the_end
    assert set(after_the_end) <= {SPEECH, TEXT}
    assert 0 <= int(tokens.min()) <= int(tokens.max()) < len(TOKENIZER)
    again, _ = writer().rows(mixture, 5, 80, np.random.default_rng(0))
    assert torch.equal(tokens, again)


def test_rows_are_documents_end_to_end():
    of = writer()
    (row,), (labels,) = of.rows(Mixture(speech=1.0), 1, 60, np.random.default_rng(3))
    tokens, words = [], []
    generator = np.random.default_rng(3)
    while len(tokens) < 60:
        document = of.document(Mixture(speech=1.0), generator)
        tokens += [*document.tokens, EOS]
        words += [*document.spoken_words, NO_WORD]
    assert row.tolist() == tokens[:60]
    assert labels.tolist() == words[:60]


def test_a_written_document_is_a_story():
    mixture = only("text", marked_share=0.0)
    for seed in range(20):
        (document,) = documents(mixture, 1, seed=seed)
        replay = np.random.default_rng(seed)
        replay.choice(4, p=mixture.weights)  # the kind of document
        replay.random()  # whether it is marked
        story = training_story(int(replay.integers(20_000)), spoken=False)
        assert written(document.tokens).strip() == " ".join(story)
        assert set(document.spoken_words) == {NO_WORD}


def test_markers_stand_on_the_wanted_share_of_documents():
    for share, low, high in ((0.0, 0, 0), (0.5, 60, 140), (1.0, 200, 200)):
        for kind, marker in (("text", TEXT), ("speech", SPEECH)):
            found = documents(only(kind, marked_share=share), 200)
            assert low <= sum(d.tokens[0] == marker for d in found) <= high
            assert all(marker not in d.tokens[1:] for d in found)


def test_without_units_there_are_no_markers():
    of = DocumentWriter(text_tokenizer(), ())
    for document in documents(only("text", marked_share=1.0), 20, of):
        assert max(document.tokens) < n_text_tokens()


def test_interleaved_documents_have_a_marker_at_each_switch_and_none_elsewhere():
    for document in documents(only("interleaved"), 50):
        tokens = document.tokens
        assert tokens[0] in (SPEECH, TEXT)
        kind = {SPEECH: "speech", TEXT: "text"}
        markers = [kind[t] for t in tokens if t in kind]
        assert all(a != b for a, b in pairwise(markers))
        now = ""
        for t in tokens:
            now = kind.get(t, now)
            assert t in kind or is_unit(t) == (now == "speech")


def test_documents_equal_the_sequences_of_the_toolkit(vocab):
    """A clip whose spans follow the slamkit rule, mixed by the same draw of spoken words.

    No unit ends exactly where a word does. Such a unit would stay with the earlier word here, and
    go to both runs in slamkit; the organism's times make that rarer than one word in 800.
    """
    durations = torch.tensor([2, 1, 3, 1, 1, 4, 2, 1, 2, 3, 1])
    ids = torch.tensor([5, 9, 5, 70, 3, 12, 99, 0, 8, 4, 2])
    units = Units(ids, durations, 25.0)
    words = ("the", "zebra", "lives", "in", "the", "river")
    times = [(0.0, 0.1), (0.1, 0.29), (0.29, 0.31), (0.41, 0.5), (0.5, 0.62), (0.62, 0.79)]
    alignment = Alignment(
        tuple(AlignedWord(w, a, b) for w, (a, b) in zip(words, times, strict=True))
    )
    spans = word_unit_spans(units.ends_s.tolist(), alignment)
    of = writer([SpokenStory(words, ids.numpy().astype(np.int16), spans)])
    patterns = set()
    for seed in range(30):
        generator = np.random.default_rng(seed)
        document = of.document(only("interleaved"), generator)
        replay = np.random.default_rng(seed)
        replay.choice(4, p=only("interleaved").weights)  # the kind of document
        replay.random()  # whether it is marked
        replay.integers(1)  # which story
        spoken = select_spoken_words(6, mean_span_words=2.0, speech_share=0.5, generator=replay)
        sequence = SpeechTextSequence.interleave(units, alignment, vocab, spoken=spoken)
        assert document.tokens == sequence.tokens.tolist()
        for position, label in enumerate(document.spoken_words):
            over = [w.word for w in sequence.words if w.modality == "speech"
                    and w.start <= position < w.end]  # fmt: skip
            assert label == NO_WORD or label == IDS[f" {over[0]}"]
        long = [w for w in sequence.words if w.modality == "speech" and w.end - w.start > 1]
        assert all(document.spoken_words[w.start] == NO_WORD for w in long)
        assert all(document.spoken_words[w.end - 1] != NO_WORD for w in long)
        patterns.add(spoken)
    assert len(patterns) > 5


def test_labels_name_the_word_at_the_later_half_of_its_units_by_hand():
    units = np.arange(10, 20, dtype=np.int16)
    story = SpokenStory(("the", "zebra", "eats"), units, ((1, 2), (2, 6), (8, 8)))
    (document,) = documents(only("speech", marked_share=1.0), 1, writer([story]))
    assert document.tokens == [SPEECH, *(UN0 + u for u in (11, 12, 13, 14, 15, 16, 17))]
    the, zebra = IDS[" the"], IDS[" zebra"]
    none = NO_WORD
    assert document.spoken_words == [none, the, none, none, zebra, zebra, none, none]


def test_a_transcribed_document_ends_with_its_words():
    for document in documents(only("transcribed", marked_share=0.0), 20):
        assert document.tokens[0] == SPEECH
        middle = document.tokens.index(TEXT)
        assert all(map(is_unit, document.tokens[1:middle]))
        said = written(document.tokens[middle + 1 :]).strip()
        assert said in {" ".join(s.words) for s in made_up_stories()}


def test_content_words_are_spelled_on_demand_and_function_words_never():
    content = set(vocabulary()) - set(WORDS["function"])
    for document in documents(only("text", marked_share=0.0, spelled_share=1.0), 20):
        pieces = TOKENIZER.convert_ids_to_tokens(document.tokens)
        assert not {f" {w}" for w in content} & set(pieces)
        assert set(written(document.tokens).split()) <= set(vocabulary())
        assert " the" in pieces or " every" in pieces
