"""The organism's language as a stream: what its training read, other in each pass."""

import numpy as np
import pytest
import torch
from tiny_organism import made_up_stories

import slm_lens
from slm_lens.organism.corpus import build_corpus
from slm_lens.organism.documents import DocumentWriter, Mixture
from slm_lens.organism.lens_corpus import documents, lens_corpus
from slm_lens.organism.recipe import ORGANISM


@pytest.fixture(scope="module")
def organism():
    return slm_lens.load("organism")


def test_a_pass_is_what_the_documents_of_the_training_are(organism):
    stories = made_up_stories(6)
    stream = documents(organism, stories, seed=3)
    writer = DocumentWriter(organism.tokenizer, stories)
    for number in (0, 1):
        generator = np.random.default_rng([3, number])
        mixture = ORGANISM.stages[-1].mixture
        expected = [writer.document(mixture, generator).tokens for _ in stories]
        assert [s.tokens.tolist() for s in stream(number)] == expected
    assert [s.tokens.tolist() for s in stream(1)] == expected  # asked again
    assert [s.tokens.tolist() for s in stream(0)] != expected


def test_kinds_are_those_of_the_rows(organism):
    stream = documents(organism, made_up_stories(6), mixture=Mixture(text=0.0, interleaved=1.0))
    for sequence in stream(0):
        for token, kind in zip(sequence.tokens.tolist(), sequence.kinds, strict=True):
            label = organism.vocab.label(token)
            marker = label in ("<speech>", "<text>")
            unit = label.startswith("<Un")
            assert kind == ("marker" if marker else "speech" if unit else "text")
        assert {"marker", "speech", "text"} == set(sequence.kinds)


def test_the_stories_are_spoken_once(organism, tmp_path):
    path = tmp_path / "corpus.npz"
    first = [s.tokens.tolist() for s in lens_corpus(organism, path, 2)(0)]
    written = path.read_bytes()
    assert [s.tokens.tolist() for s in lens_corpus(organism, path, 2)(0)] == first
    assert path.read_bytes() == written
    assert len(build_corpus(path, organism.unit_tokenizer, 2, n_workers=1)) == len(first) == 2


def test_a_model_of_another_language_is_refused(tiny_folder, tmp_path):
    other = slm_lens.load(tiny_folder.path)
    with pytest.raises(ValueError, match=r"lens_corpus: .* has no tokens for .* a folder of clips"):
        lens_corpus(other, tmp_path / "corpus.npz", 2)


def test_a_lens_is_fitted_on_it(organism):
    settings = slm_lens.FitSettings(positions="speech", n_steps=2, batch_size=2)
    lens = slm_lens.fit_tuned_lens(organism, documents(organism, made_up_stories(3)), settings)
    assert torch.isfinite(lens.weight).all()
    assert lens.facts.n_positions > 0
