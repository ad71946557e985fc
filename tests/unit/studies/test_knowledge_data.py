"""Facts and pairs for the study ``knowledge``: from tables and folders, and what is refused."""

import json
import shutil
import sys
from dataclasses import replace
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from short_clips import write_clips

import slm_lens
from slm_lens.sequence.word_span import WordSpan
from slm_lens.studies.knowledge import study
from slm_lens.studies.knowledge.fact_items import Setting, of_modalities
from slm_lens.studies.knowledge.pair_accuracies import read_pair_trials
from slm_lens.studies.knowledge.study import KnowledgeOptions, study_knowledge
from slm_lens.studies.knowledge.table_items import FactColumns, subject_in, table_items
from slm_lens.studies.knowledge.word_counts import read_word_counts

ALL = FactColumns(
    name="id",
    category="category",
    subject="subject",
    prompt_words="prompt_words",
    prompt_audio="prompt_audio",
    correct_audio="correct_audio",
    counterfactual_audio="counterfactual_audio",
    prompt_text="prompt",
    correct_text="correct",
    counterfactual_text="counterfactual",
)
READ: dict[str, Any] = {"split": None, "overlap": "refuse", "missing": "refuse"}


@pytest.fixture(scope="module")
def organism():
    return slm_lens.load("organism")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Six clips: path, samples, and ``[word, start, end]`` of each."""
    folder, found = tmp_path_factory.mktemp("clips"), []
    for name in write_clips(folder, 6, ending="wav"):
        path = folder / f"{name}.wav"
        timed = json.loads(path.with_suffix(".json").read_text())["aligned_text"]
        words = [(w.strip(), start, end) for w, start, end in timed]
        found.append((path, torch.from_numpy(soundfile.read(path, dtype="float32")[0]), words))
    return found


@pytest.fixture(scope="module")
def rows(clips):
    """Two facts as Common-Sense Facts Audio has them: text, three renderings, word times."""

    def audio(i):
        return {"bytes": clips[i][0].read_bytes(), "path": f"{i}.wav"}

    found = []
    for i, category in enumerate(("animals", "places")):
        words = [w for w, _, _ in clips[i][2]]
        found.append(
            {
                "id": f"fact-{i}",
                "category": category,
                "subject": " ".join(words[:2]),
                "prompt": " ".join(words),
                "correct": "desert",
                "counterfactual": "savanna",
                "prompt_audio": audio(i),
                "correct_audio": audio(2 + i),
                "counterfactual_audio": audio(4 + i),
                "prompt_words": [
                    {"word": w, "start": start, "end": end} for w, start, end in clips[i][2]
                ],
            }
        )
    return found


@pytest.fixture(scope="module")
def table(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("facts") / "train.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


class TestTables:
    def test_all_settings_of_the_published_layout(self, organism, table, clips):
        items = table_items(organism, str(table), ALL, format="parquet", **READ)
        assert [(i.name, i.category) for i in items] == [
            ("fact-0", "animals"), ("fact-1", "places"),
        ]  # fmt: skip
        tokenizer = organism.unit_tokenizer
        for i, item in enumerate(items):
            words = [w for w, _, _ in clips[i][2]]
            assert set(item.trials) == {"S->S", "T->T", "S->T", "T->S"}
            samples = clips[i][1]
            whole = tokenizer.encode(torch.cat([samples, clips[2 + i][1]]))
            prompt_s = len(samples) / tokenizer.sample_rate_hz
            text = " ".join(words)
            prompt, answer = tokenizer.encode(samples), tokenizer.encode(clips[2 + i][1])
            expected: dict[Setting, slm_lens.Joined] = {
                "S->S": slm_lens.join_speech(organism, whole, prompt_s=prompt_s),
                "T->T": slm_lens.join_segments(organism, text, "desert"),
                "S->T": slm_lens.join_segments(organism, prompt, "desert"),
                "T->S": slm_lens.join_segments(organism, text, answer),
            }
            for setting, joined in expected.items():
                trial = item.trials[setting]
                assert trial.right.tokens.tolist() == joined.sequence.tokens.tolist(), setting
                assert trial.right_start == joined.start
            assert item.prompt is not None
            assert [w.word for w in item.prompt.sequence.words] == words
            assert (item.subject, item.cluster) == (1, " ".join(words[:2]))

    def test_hugging_face_rows_are_the_same(self, organism, table):
        loaded = table_items(
            organism, str(table.parent), ALL, format="huggingface", **{**READ, "split": "train"}
        )
        read = table_items(organism, str(table), ALL, format="parquet", **READ)
        for a, b in zip(loaded, read, strict=True):
            for setting in a.trials:
                assert a.trials[setting].wrong.tokens.equal(b.trials[setting].wrong.tokens)

    def test_columns_that_are_not_named_leave_their_settings_out(self, organism, table):
        text_alone = FactColumns(
            prompt_text="prompt", correct_text="correct", counterfactual_text="counterfactual"
        )
        (first, _) = table_items(organism, str(table), text_alone, format="parquet", **READ)
        assert list(first.trials) == ["T->T"]
        assert (first.prompt, first.subject, first.category) == (None, None, "")
        assert first.cluster == first.name == "train.parquet:0"
        spoken_prompt = replace(text_alone, prompt_audio="prompt_audio")
        assert spoken_prompt.settings() == ["T->T", "S->T"]

    def test_refusals(self, organism, table, rows, tmp_path):
        def read(columns: FactColumns, path=table):
            return table_items(organism, str(path), columns, format="parquet", **READ)

        with pytest.raises(ValueError, match=r"which give the settings \[\], expected prompt and"):
            read(FactColumns(prompt_text="prompt"))
        with pytest.raises(ValueError, match=r"a subject only with word times"):
            read(replace(ALL, prompt_words=None))
        with pytest.raises(ValueError, match=r"word times only with the prompt's sound"):
            read(replace(ALL, prompt_audio=None))
        with pytest.raises(LookupError, match=r"lacks the columns \['kind'\]"):
            read(replace(ALL, category="kind"))
        broken = [rows[0], {**rows[1], "correct": " "}]
        path = tmp_path / "broken.parquet"
        pq.write_table(pa.Table.from_pylist(broken), path)
        with pytest.raises(ValueError, match=r"broken.parquet:1 cannot be read .*leaves none out"):
            read(ALL, path)

    def test_a_subject_is_found_by_its_words(self):
        words = tuple(
            WordSpan(w, "speech", i, i + 1) for i, w in enumerate(["The", "red", "fox,", "red"])
        )
        assert subject_in(words, "red fox", "x") == 2
        assert subject_in(words, "Red", "x") == 1
        with pytest.raises(ValueError, match=r"got the subject 'fox red fox' of 'x'.*the red fox"):
            subject_in(words, "fox red fox", "x")

    @pytest.mark.slow
    @pytest.mark.usefixtures("untyped")
    def test_the_study_reads_a_table(self, organism, table, clips, tmp_path):
        counts = tmp_path / "counts.csv"
        counts.write_text("word,count\nthe,9\nThe,1\nzebra,3\n")
        columns = {f"{k}_column": v for k, v in vars(ALL).items()}
        options = KnowledgeOptions(
            data=str(table),
            clips=str(clips[0][0].parent),
            pairs=None,
            n_bootstrap=0,
            word_counts=str(counts),
            **columns,
        )
        result = study_knowledge([organism], options)
        accuracy = result.frame("accuracy").filter(model="organism", grouping="all")
        assert len(accuracy) == 4 * 2 * 2
        assert accuracy["n_items"].unique().to_list() == [2]
        assert not len(result.frame("pairs"))
        assert result.settings["data"] == str(table)


class TestWordCounts:
    def test_equal_words_are_added(self, tmp_path):
        frame = pl.DataFrame({"word": ["The", "the", "fox"], "count": [3, 4, 2]})
        frame.write_csv(tmp_path / "a.csv")
        frame.write_parquet(tmp_path / "a.parquet")
        for name in ("a.csv", "a.parquet"):
            assert read_word_counts(str(tmp_path / name), "facts.parquet") == {"the": 7, "fox": 2}

    def test_without_a_table(self):
        counts = read_word_counts(None, "organism")
        assert counts is not None
        assert counts["the"] > counts["zebra"] > 1000
        assert read_word_counts(None, "facts.parquet") is None

    def test_refusals(self, tmp_path):
        with pytest.raises(LookupError, match=r"word_counts='no.csv', expected a file of \['.csv'"):
            read_word_counts("no.csv", "organism")
        for i, text in enumerate(("word,n\na,1\n", "word,count\na,0\n", "word,count\na,0.5\n")):
            path = tmp_path / f"{i}.csv"
            path.write_text(text)
            with pytest.raises(ValueError, match=r"expected word and count, the latter whole"):
                read_word_counts(str(path), "organism")


class TestPairs:
    def test_a_folder_of_trials(self, organism, clips, tmp_path):
        for i, name in enumerate(("0_a.wav", "1_b.wav", "2_c.wav", "3_d.wav")):
            (tmp_path / "set").mkdir(exist_ok=True)
            shutil.copy(clips[i][0], tmp_path / "set" / name)
        pairs = read_pair_trials(organism, str(tmp_path), layout="swuggy", subfolders=None, seed=0)
        assert [(p.trial.name, p.trial.part, p.cluster) for p in pairs] == [
            ("set/0_a", "set", "set/0_a"), ("set/2_c", "set", "set/2_c"),
        ]  # fmt: skip
        units = organism.unit_tokenizer.encode(clips[3][1])
        expected = organism.sequence_from_units(units).tokens.tolist()
        assert pairs[1].trial.wrong.tokens.tolist() == expected

    def test_a_layout_belongs_to_a_folder(self, organism):
        with pytest.raises(ValueError, match=r"pairs='organism' with pairs_layout='swuggy'"):
            read_pair_trials(organism, "organism", layout="swuggy", subfolders=None, seed=0)
        with pytest.raises(
            ValueError, match=r"pairs='folder' with pairs_layout=None, expected one"
        ):
            read_pair_trials(organism, "folder", layout=None, subfolders=None, seed=0)


def test_settings_are_named_by_both_modalities():
    assert of_modalities("speech", "text") == "S->T"
    assert of_modalities("text", "text") == "T->T"


def test_without_espeak_the_message_has_the_command(organism, monkeypatch):
    """As where neither the package nor a library of the system is there."""
    from slm_lens.speech import _espeak

    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(_espeak.ctypes.util, "find_library", lambda _: None)
    with pytest.raises(ImportError, match=r"pip install 'slm-lens\[synth\]'"):
        study.study_knowledge([organism], KnowledgeOptions())
