"""Pairs from a table: what its rows become, and the row and column of what cannot be used."""

import re
import shutil

import polars as pl
import pytest
import torch

import slm_lens
from slm_lens.corpus.folder import clips_of, read_utterances
from slm_lens.corpus.pairs import read_pairs
from slm_lens.errors import AlignmentError, AudioError, VocabError
from slm_lens.interventions.pairs.matching import match_units, match_word_ends, match_words

WRITTEN = {
    "name": "weather", "clean": "the forest is", "corrupted": "the river is",
    "clean_modality": "text", "corrupted_modality": "text", "answer": "sunny", "foil": "foggy",
}  # fmt: skip


@pytest.fixture(scope="module")
def organism():
    return slm_lens.load("organism")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Two clips of the package, one in a folder below."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "below").mkdir()
    for (sound, beside), where in zip(
        clips_of("held-out"), (folder, folder / "below"), strict=False
    ):
        shutil.copy(sound, where / "clip.flac")
        shutil.copy(beside, where / "clip.json")
    return folder


def write(folder, rows, ending="csv"):
    path = folder / f"pairs.{ending}"
    frame = pl.DataFrame(rows, infer_schema_length=None)
    getattr(frame, {"csv": "write_csv", "jsonl": "write_ndjson"}.get(ending, "write_parquet"))(path)
    return path


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_written_pairs_are_those_that_are_made_by_hand(organism, tmp_path, ending):
    rows = [WRITTEN, WRITTEN | {"name": "no foil", "foil": None, "corrupted": "the garden is"}]
    pair, without = read_pairs(organism, write(tmp_path, rows, ending))
    ids = organism.tokenizer.get_vocab()
    said = ["<text>", " the", " forest", " is"]
    assert pair.clean.tokens.tolist() == [ids[w] for w in said]
    assert pair.corrupted.tokens.tolist() == [ids[w] for w in [*said[:2], " river", " is"]]
    assert (pair.name, pair.answer, pair.foil) == ("weather", (ids[" sunny"],), (ids[" foggy"],))
    assert pair.matches == match_words(pair.clean, pair.corrupted)
    assert (without.name, without.foil) == ("no foil", ())


def test_columns_that_may_be_left_out(organism, tmp_path):
    row = {k: v for k, v in WRITTEN.items() if k != "foil"}
    (pair,) = read_pairs(organism, write(tmp_path, [row]))
    assert pair.foil == ()
    rows = [
        WRITTEN | {"name": m or "none", "continue_in": m, "answer": a, "foil": None}
        for m, a in (("speech", "<Un17> <Un20>"), ("text", "sunny"), (None, "sunny"))
    ]
    to_speech, to_text, whole = read_pairs(organism, write(tmp_path, rows))
    units = organism.vocab.streams["units"]
    assert to_speech.answer == (units[17], units[20])
    ends = [organism.vocab.label(int(p.clean.tokens[-1])) for p in (to_speech, to_text, whole)]
    assert ends == ["<speech>", "<text>", " is"]


def test_spoken_runs_are_the_clips_beside_the_table(organism, clips):
    row = WRITTEN | {
        "clean": "clip.flac",
        "clean_modality": "speech",
        "corrupted": "below/clip.flac",
        "corrupted_modality": "speech",
    }
    whole = read_utterances(organism, clips)[0].sequence
    below = read_utterances(organism, clips / "below")[0].sequence
    same = row | {"corrupted": "below/../clip.flac"}
    (pair,) = read_pairs(organism, write(clips, [same]), match="word_ends")
    assert torch.equal(pair.clean.tokens, whole.tokens)
    assert pair.clean.words == pair.corrupted.words == whole.words
    assert pair.matches == match_word_ends(whole, whole)
    (pair,) = read_pairs(organism, write(clips, [same]), match="units")
    assert pair.matches == match_units(whole, whole)
    text = " ".join(w.word for w in below.words)
    across = row | {"clean": text, "clean_modality": "text"}
    (pair,) = read_pairs(organism, write(clips, [across]), overlap="trim", missing="interpolate")
    assert torch.equal(pair.corrupted.tokens, below.tokens)
    assert {w.modality for w in pair.clean.words} == {"text"}


def test_the_policy_is_the_models_unless_another_is_asked_for(organism, tmp_path):
    path = write(tmp_path, [WRITTEN])
    ids = organism.tokenizer.get_vocab()
    (pair,) = read_pairs(organism, path, policy="first_piece")
    assert set(pair.answer) == {ids[" sunny"], ids["s"]}
    assert set(pair.foil) == {ids[" foggy"], ids["f"]}


SPOKEN = {"clean_modality": "speech"}


@pytest.mark.parametrize(
    ("change", "column", "message"),
    [
        ({"name": None}, "name", "is empty, expected a text"),
        ({"clean": "  "}, "clean", "is empty, expected a text"),
        ({"answer": None}, "answer", "is empty, expected a text"),
        ({"clean_modality": "Text"}, "clean_modality", "got 'Text', expected one of"),
        ({"corrupted_modality": "sung"}, "corrupted_modality", "got 'sung', expected one of"),
        ({"continue_in": "song"}, "continue_in", "got 'song', expected one of"),
        ({"clean": "the forest"}, "clean, corrupted", "runs of 2 and 3 words"),
        ({"answer": "quark"}, "answer, foil", "finds no token"),
        ({"foil": "sunny"}, "answer, foil", "which both begin with"),
        ({"clean": "../clip.flac"} | SPOKEN, "clean", "which leaves the table's folder"),
        ({"clean": "/etc/passwd"} | SPOKEN, "clean", "which leaves the table's folder"),
        ({"clean": "absent.flac"} | SPOKEN, "clean", "got 'absent.flac', expected a sound file"),
    ],
    ids=str,
)
def test_a_row_that_cannot_be_used_is_named(organism, tmp_path, change, column, message):
    path = write(tmp_path, [WRITTEN | {"continue_in": None}, WRITTEN | {"name": "bad"} | change])
    with pytest.raises(
        ValueError, match=rf"read_pairs: pairs.csv, row 2, column {column}:.*{message}"
    ):
        read_pairs(organism, path)


@pytest.mark.parametrize(
    ("make", "kind", "column", "message"),
    [
        (lambda f: shutil.copy(f / "clip.json", f / "clip.ctm"), AlignmentError, "clean",
         "read_pairs: clip.flac has 2 alignment files"),
        (lambda f: (f / "clip.json").unlink(), AlignmentError, "clean", "has 0 alignment files"),
        (lambda f: (f / "clip.flac").write_text("no sound"), AudioError, "clean", "read_audio"),
    ],
)  # fmt: skip
def test_a_clip_that_cannot_be_used_keeps_its_kind_of_error(
    organism, clips, tmp_path, make, kind, column, message
):
    for ending in ("flac", "json"):
        shutil.copy(clips / f"clip.{ending}", tmp_path)
    make(tmp_path)
    path = write(tmp_path, [WRITTEN | {"clean": "clip.flac"} | SPOKEN])
    with pytest.raises(kind, match=rf"pairs.csv, row 1, column {column}: .*{message}"):
        read_pairs(organism, path)


def test_a_unit_that_the_model_lacks_is_an_error_of_the_vocabulary(organism, tmp_path):
    path = write(tmp_path, [WRITTEN | {"answer": "<Un100>"}])
    with pytest.raises(VocabError, match=r"row 1, column answer, foil: .*got units \[100\]"):
        read_pairs(organism, path)


def test_a_name_that_occurs_twice_is_refused(organism, tmp_path):
    path = write(tmp_path, [WRITTEN, WRITTEN | {"name": "other"}, WRITTEN])
    with pytest.raises(
        ValueError, match=r"row 3, column name: got 'weather', the name of row 1 as"
    ):
        read_pairs(organism, path)


def test_a_table_of_other_columns_is_refused_with_the_nearest(organism, tmp_path):
    rows = [{k: v for k, v in WRITTEN.items() if k != "foil"} | {"foill": "foggy"}]
    with pytest.raises(
        ValueError, match=r"lacks the columns \[\] and has \['foill'\].*Is \['foil'\]"
    ):
        read_pairs(organism, write(tmp_path, rows))
    rows = [{k: v for k, v in WRITTEN.items() if k != "answer"} | {"zzz": "x"}]
    with pytest.raises(
        ValueError, match=r"lacks the columns \['answer'\] and has \['zzz'\].*Rename"
    ):
        read_pairs(organism, write(tmp_path, rows))


def test_columns_that_are_no_text_are_refused(organism, tmp_path):
    path = write(tmp_path, [WRITTEN | {"answer": 17}], "jsonl")
    with pytest.raises(
        ValueError, match=r"columns \['answer'\] of \[Int64\], expected text.*<Un17>"
    ):
        read_pairs(organism, path)


def test_a_file_that_is_no_table_is_refused(organism, tmp_path):
    with pytest.raises(LookupError, match=r"read_pairs: no file at .*absent.csv"):
        read_pairs(organism, tmp_path / "absent.csv")
    with pytest.raises(ValueError, match=r"got 'pairs.xlsx', expected an ending of \('.csv', '.js"):
        read_pairs(organism, tmp_path / "pairs.xlsx")
    for ending, content in (
        ("csv", b""),
        ("csv", b"a\n\xff\xfe"),
        ("jsonl", b"{"),
        ("parquet", b"a"),
    ):
        path = tmp_path / f"pairs.{ending}"
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=rf"pairs.{ending} cannot be read \(.*Is the file whole"
        ):
            read_pairs(organism, path)
    path = tmp_path / "pairs.csv"
    path.write_text(",".join(WRITTEN) + "\n")
    with pytest.raises(ValueError, match=r"pairs.csv has no row, expected at least one"):
        read_pairs(organism, path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a":' * 900 + "1" + "}" * 900, "line 1 is no object of texts"),  # polars: 10 GB
        ("[" * 5000, "line 1: maximum recursion depth"),
        ('{"a": "b"}\n\n[]', "line 3 is no object of texts"),
        ("".join(f'{{"c{i}": null}}\n' for i in range(1001)), "more than 1000 columns"),
        ('{"a": ' + "9" * 5000 + "}", "line 1: Exceeds the limit"),
    ],
)
def test_lines_that_are_no_rows_are_refused(organism, tmp_path, text, message):
    path = tmp_path / "pairs.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"pairs.jsonl cannot be read \(.*{message}"):
        read_pairs(organism, path)


@pytest.mark.usefixtures("untyped")
@pytest.mark.parametrize("option", ["match", "policy"])
def test_unknown_options_are_refused(organism, tmp_path, option):
    with pytest.raises(
        ValueError, match=re.escape(f"read_pairs: got {option}='any', expected one")
    ):
        read_pairs(organism, write(tmp_path, [WRITTEN]), **{option: "any"})  # pyright: ignore[reportArgumentType]
