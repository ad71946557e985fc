"""Trials: folders as slamkit lays them out, and rows of tables; the pairs, and what is refused."""

import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from short_clips import write_clips

from slm_lens.corpus._trial_pairs import numbered_pairs
from slm_lens.corpus.data_config import DataConfig
from slm_lens.corpus.dataset import ITEM_ERRORS, Dataset, Limits, ReadOptions
from slm_lens.corpus.open_dataset import open_dataset
from slm_lens.corpus.parquet_rows import ParquetRows
from slm_lens.corpus.table_columns import TableColumns
from slm_lens.corpus.trial_folder import TrialFolder

RATE_HZ = 16_000  # of the clips


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Six clips of different length."""
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder, 6, ending="wav")
    return sorted(folder.glob("*.wav"))


@pytest.fixture
def put(tmp_path, clips):
    """Writes files by name: number of a clip, or text; returns the folder."""

    def write(files):
        for name, content in files.items():
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, str):
                path.write_text(content)
            else:
                shutil.copy(clips[content], path)
        return tmp_path / "set"

    return write


def opened(folder, layout, **entries: Any) -> Dataset:
    config = DataConfig(format="trials", path=str(folder), layout=layout, **entries)
    return open_dataset(config, Limits())


def read(data: Dataset, number=0, rate_hz: int | None = RATE_HZ) -> Any:
    return data.read(list(data.item_keys())[number], sample_rate_hz=rate_hz)


def refused(data: Dataset, number: int) -> str:
    with pytest.raises(ITEM_ERRORS) as error:
        read(data, number)
    return str(error.value)


def is_clip(item, path) -> bool:
    samples, rate_hz = soundfile.read(path, dtype="float32")
    assert rate_hz == RATE_HZ
    return torch.equal(item.waveform, torch.from_numpy(samples))


class TestPairsOfNumbers:
    def test_swuggy_by_number_within_each_folder(self, put, clips):
        folder = put({
            "b/2_yes.wav": 2, "b/10_word.wav": 4, "b/3_no.wav": 3, "b/11_drow.wav": 5,
            "a/0_one.wav": 0, "a/1_two.wav": 1,
        })  # fmt: skip
        data = opened(folder, "swuggy")
        keys = list(data.item_keys())
        assert [k.name for k in keys] == ["a/0_one", "b/2_yes", "b/10_word"]
        assert keys[1].place == "b/2_yes.wav b/3_no.wav"
        assert keys[0].size_bytes == sum(c.stat().st_size for c in clips[:2])
        assert (data.holds, data.has_sound, data.has_words) == ("trials", True, False)
        for number, (part, right, wrong) in enumerate([("a", 0, 1), ("b", 2, 3), ("b", 4, 5)]):
            trial = read(data, number)
            assert (trial.part, trial.prompt, trial.prompt_s) == (part, None, None)
            assert is_clip(trial.right, clips[right])
            assert is_clip(trial.wrong, clips[wrong])

    def test_sblimp_has_another_separator(self, put, clips):
        files = {"s/0+good_x.wav": 0, "s/1+bad_x.wav": 1}
        data = opened(put(files), "sblimp")
        assert [k.name for k in data.item_keys()] == ["s/0+good_x"]
        assert is_clip(read(data).wrong, clips[1])
        with pytest.raises(LookupError, match=r"no trial of the layout 'swuggy' among 2 names"):
            opened(put({}), "swuggy")

    def test_storycloze_is_flat_or_of_several_voices(self, put):
        folder = put({"0_a.wav": 0, "1_b.wav": 1, "2_c.wav": 2, "3_d.wav": 3})
        flat = opened(folder, "storycloze")
        assert [k.name for k in flat.item_keys()] == ["0_a", "2_c"]
        assert read(flat).part == ""

    def test_flat_and_deep_are_not_mixed(self, put):
        folder = put({"x/0_a.wav": 0, "x/1_b.wav": 1})
        deep = opened(folder, "storycloze", subfolders=True)
        assert read(deep).part == "x"
        message = r"has 2 files in folders in it \(such as '0_a.wav'\), expected none with subf"
        with pytest.raises(ValueError, match=message):
            opened(folder, "storycloze")
        put({"0_a.wav": 0})
        with pytest.raises(ValueError, match=r"has 1 files in the folder itself .* to False"):
            opened(folder, "swuggy")

    @given(
        st.sets(st.integers(0, 60), min_size=1),
        st.sampled_from([0, 1]),
        st.randoms(use_true_random=False),
    )
    def test_whole_sets_pair_as_slamkit_sorts_them(self, chosen, first, random):
        """Its rule, written out: sorted by ``int(name.split(sep)[0])``, then two by two."""
        names = [f"{2 * n + first + side}_w.wav" for n in chosen for side in (0, 1)]
        random.shuffle(names)
        expected = sorted(names, key=lambda x: int(x.split("_")[0]))
        pairs = numbered_pairs([Path(n) for n in names], "_")
        found = [(p.right, p.wrong, p.problem) for p in pairs]
        assert found == [
            (Path(a), Path(b), "") for a, b in zip(expected[::2], expected[1::2], strict=True)
        ]

    def test_a_missing_file_shifts_nothing(self, put, clips):
        """slamkit would take 4 as the wrong side of 2, and 6 of 5."""
        numbers = [0, 1, 2, 4, 5, 6]
        data = opened(put({f"a/{n}_x.wav": i for i, n in enumerate(numbers)}), "swuggy")
        assert [k.name for k in data.item_keys()] == ["a/0_x", "a/2_x", "a/4_x", "a/6_x"]
        assert is_clip(read(data, 2).right, clips[3])
        message = r"2 \(right\) has the files \['2_x.wav'\], 3 \(wrong\) \[\], expected one file"
        assert re.search(message, refused(data, 1))
        assert re.search(r"6 \(right\) has the files \['6_x.wav'\]", refused(data, 3))

    def test_names_without_a_number_and_numbers_of_two_files(self, put):
        files = {
            "0_x.wav": 0,
            "1_x.wav": 1,
            "2_x.wav": 2,
            "3_x.wav": 3,
            "3_y.flac": "",
            "no.wav": 4,
        }
        data = opened(put(files), "storycloze")
        assert [k.name for k in data.item_keys()] == ["0_x", "2_x", "no"]
        assert "3 (wrong) ['3_x.wav', '3_y.flac']" in refused(data, 1)
        assert "no.wav: it does not begin with a number and '_'" in refused(data, 2)

    @pytest.mark.parametrize("numbers", [[1, 2, 3, 4, 5], [2, 3, 5, 6], [1, 3, 4, 6], [7]])
    def test_a_folder_whose_pairs_cannot_be_told_is_refused(self, put, numbers):
        folder = put({f"a/{n}_x.wav": 0 for n in numbers})
        message = rf"a: got {len(numbers)} numbers from {numbers[0]} to .* cannot be told"
        with pytest.raises(ValueError, match=message):
            opened(folder, "swuggy")


class TestSalmon:
    def test_parts_and_sides(self, put, clips):
        folder = put({
            "speaker_consistency/sample_10_0.wav": 0, "speaker_consistency/sample_10_1.wav": 1,
            "speaker_consistency/sample_9_1.wav": 3, "speaker_consistency/sample_9_0.wav": 2,
            "bg_alignment/sample_0_0.wav": 4, "bg_alignment/sample_0_1.wav": 5,
        })  # fmt: skip
        data = opened(folder, "salmon")
        assert [k.name for k in data.item_keys()] == [
            "bg_alignment/sample_0",
            "speaker_consistency/sample_9",
            "speaker_consistency/sample_10",
        ]
        trial = read(data, 1)
        assert trial.part == "speaker_consistency"
        assert is_clip(trial.right, clips[2])
        assert is_clip(trial.wrong, clips[3])
        one_part = opened(folder / "bg_alignment", "salmon", subfolders=False)
        assert [k.name for k in one_part.item_keys()] == ["sample_0"]
        assert read(one_part).part == "bg_alignment"

    def test_what_is_no_pair_is_an_error_of_its_item(self, put):
        files = {f"p/sample_{n}.wav": 0 for n in ("0_0", "0_1", "1_0", "2_1", "3", "4_2")}
        files |= {"p/sample_5_0.wav": 1, "p/sample_5_1.wav": 2}
        data = opened(put(files | {"p/sample_0_1.flac": 1}), "salmon")
        reasons = [refused(data, n) for n in (0, 1, 2, 4, 5)]
        assert "wrong (_1) ['sample_0_1.flac', 'sample_0_1.wav']" in reasons[0]
        assert "right (_0) are the files ['sample_1_0.wav'], wrong (_1) []" in reasons[1]
        assert "right (_0) are the files [], wrong" in reasons[2]
        for reason in reasons[3:]:
            assert "its name is not sample_NUMBER_0 (right)" in reason


STORY = {
    "v/7_mutual.wav": 0, "v/7_correct.wav": 1, "v/7_incorrect.wav": 2,
    "v/7_mutual.txt": "the zebra lives in the\n", "v/7_correct.txt": "savanna",
    "v/7_incorrect.txt": " desert ",
}  # fmt: skip


class TestCrossModal:
    @pytest.mark.parametrize("prompt", ["speech", "text"])
    @pytest.mark.parametrize("completion", ["speech", "text"])
    def test_any_modality_of_both(self, put, clips, prompt, completion):
        data = opened(
            put(STORY), "cross_modal", prompt_modality=prompt, completion_modality=completion
        )
        assert data.has_sound == ("speech" in (prompt, completion))
        assert [k.name for k in data.item_keys()] == ["v/7"]
        trial = read(data, rate_hz=RATE_HZ if data.has_sound else None)
        assert trial.part == "v"
        texts = "the zebra lives in the", "savanna", "desert"
        for number, modality in enumerate((prompt, completion, completion)):
            item = (trial.prompt, trial.right, trial.wrong)[number]
            if modality == "speech":
                assert is_clip(item, clips[number])
            else:
                assert item.text == texts[number]

    def test_what_lacks_is_told(self, put):
        modalities: Any = {"prompt_modality": "text", "completion_modality": "speech"}
        put({k.replace("7", "8"): v for k, v in STORY.items() if k != "v/7_incorrect.wav"})
        put({"v/9_mutual.txt": "\n", "v/9_correct.wav": 0, "v/9_incorrect.wav": 0})
        data = opened(put(STORY), "cross_modal", **modalities)
        assert [k.name for k in data.item_keys()] == ["v/7", "v/8", "v/9"]
        message = r"8_incorrect \(.flac or .ogg or .wav\) are the files \[\], expected one file"
        assert re.search(message, refused(data, 1))
        assert "got '\\n', expected a text of at least one word" in refused(data, 2)

    def test_modalities_belong_to_this_layout(self, put):
        with pytest.raises(ValueError, match=r"got prompt_modality='text' and completion_modality"):
            opened(put(STORY), "cross_modal", prompt_modality="text")
        with pytest.raises(ValueError, match=r"for the layout 'swuggy', expected both"):
            opened(put(STORY), "swuggy", prompt_modality="text", completion_modality="text")


class TestFolders:
    def test_limits_and_links(self, put, clips):
        folder = put({"0_a.wav": 0, "1_b.wav": 1, "2_c.wav": 2})
        (folder / "3_d.wav").symlink_to(clips[3])
        options = ReadOptions(Limits(max_clip_bytes=clips[0].stat().st_size - 1))
        small = TrialFolder(folder, options, layout="storycloze")
        assert "expected at most max_clip_bytes" in refused(small, 0)
        data = opened(folder, "storycloze")
        assert "leaves the data's folder" in refused(data, 1)
        with pytest.raises(ValueError, match="got no sample rate"):
            read(data, rate_hz=None)
        assert data.words(next(iter(data.item_keys()))) == ()

    def test_absent_folders_and_layouts_are_told(self, tmp_path):
        with pytest.raises(LookupError, match=r"no folder at .*/no', expected one of the layout"):
            opened(tmp_path / "no", "salmon")
        (tmp_path / "empty").mkdir()
        with pytest.raises(LookupError, match="has no trial of the layout 'salmon' among 0 names"):
            opened(tmp_path / "empty", "salmon")
        config = DataConfig(format="trials", path=str(tmp_path))
        with pytest.raises(ValueError, match=r"got trials without layout, expected one of \('swug"):
            open_dataset(config, Limits())
        config = DataConfig(format="text", path=str(tmp_path), subfolders=False, split="x")
        with pytest.raises(ValueError, match=r"got \['split', 'subfolders'\] for data of format"):
            open_dataset(config, Limits())

    def test_what_a_mac_puts_beside_files_is_passed_over(self, put):
        data = opened(put({"0_a.wav": 0, "1_b.wav": 1, "._0_a.wav": "x"}), "storycloze")
        assert len(list(data.item_keys())) == 1


def table(tmp_path, columns, **names) -> ParquetRows:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table(columns), path)
    return ParquetRows(path, ReadOptions(), TableColumns(**names))


SIDES: Any = {"right": "good", "wrong": "bad"}


class TestTables:
    def test_sound_as_hugging_face_stores_it(self, tmp_path, clips):
        shutil.copy(clips[2], tmp_path / "beside.wav")
        sounds = [c.read_bytes() for c in clips]
        columns = {
            "id": ["a", "b"],
            "prompt": [{"bytes": sounds[0], "path": None}, {"bytes": sounds[1], "path": "x"}],
            "good": [{"bytes": None, "path": "beside.wav"}, {"bytes": sounds[3], "path": None}],
            "bad": sounds[4:6],
            "category": ["animals", "places"],
        }
        data = table(tmp_path, columns, name="id", prompt="prompt", part="category", **SIDES)
        assert (data.holds, data.has_sound, data.has_words) == ("trials", True, False)
        keys = list(data.item_keys())
        assert [k.name for k in keys] == ["a", "b"]
        assert data.words(keys[0]) == ()
        for number, (part, *which) in enumerate([("animals", 0, 2, 4), ("places", 1, 3, 5)]):
            trial = read(data, number)
            assert trial.part == part
            for item, clip in zip((trial.prompt, trial.right, trial.wrong), which, strict=True):
                assert is_clip(item, clips[clip])

    def test_text_and_units(self, tmp_path):
        columns = {"p": [[1, 2], [3]], "good": ["a b", "c"], "bad": ["d", " "], "n": [1, 2]}
        data = table(tmp_path, columns, prompt="p", part="n", frame_rate_hz=25.0, **SIDES)
        assert not data.has_sound
        trial = read(data, rate_hz=None)
        assert (trial.part, trial.right.text, trial.wrong.text) == ("1", "a b", "d")
        assert trial.prompt.units.ids.tolist() == [1, 2]
        assert trial.prompt.units.duration_s == 2 / 25
        assert "column 'bad': got ' ', expected a text of at least one word" in refused(data, 1)

    def test_values_that_are_none(self, tmp_path):
        columns = {
            "good": pa.array([None, "x", "x"]), "bad": ["y", "y", "y"],
            "part": pa.array(["p", None, "p"]), "prompt": pa.array([b"z", b"z", None]),
        }  # fmt: skip
        data = table(tmp_path, columns, part="part", **SIDES)
        assert "column 'good': got a NoneType, expected a text" in refused(data, 0)
        assert "got a NoneType in 'part', expected a text or whole number" in refused(data, 1)
        assert read(data, 2).prompt is None
        spoken = table(tmp_path, columns, prompt="prompt", **SIDES)
        assert "got a NoneType in 'prompt', expected the bytes" in refused(spoken, 2)
        with pytest.raises(ValueError, match=r"x.parquet:0: got no sample rate"):
            read(spoken, rate_hz=None)

    def test_words_as_lists_by_column(self, tmp_path, clips):
        """As Hugging Face's older ``Sequence`` of named values is stored."""
        words = {"word": ["a", "b"], "start": [0.0, 0.1], "end": [0.1, 0.2]}
        columns = {"a": [clips[0].read_bytes()] * 2, "w": [words, words | {"end": [0.1]}]}
        data = table(tmp_path, columns, audio="a", words="w")
        first, second = data.item_keys()
        assert data.words(first) == ("a", "b")
        alignment = read(data).alignment
        assert [(w.word, w.start_s, w.end_s) for w in alignment] == [("a", 0, 0.1), ("b", 0.1, 0.2)]
        with pytest.raises(ITEM_ERRORS, match="got a dict, expected a list"):
            data.words(second)

    def test_columns_that_cannot_be_trials_are_refused(self, tmp_path):
        columns = {"good": ["x"], "bad": [[1, 2]], "score": [1.5], "list": [["x"]]}
        with pytest.raises(
            ValueError, match=r"x.parquet has the sides .*'text'.*expected both sid"
        ):
            table(tmp_path, columns, **SIDES)
        with pytest.raises(ValueError, match=r"has double in 'score', expected sound"):
            table(tmp_path, columns, right="good", wrong="score")
        with pytest.raises(ValueError, match=r"has list<\w+: string> in 'list'"):
            table(tmp_path, columns, right="good", wrong="list")
        with pytest.raises(ValueError, match="got units with frame_rate_hz=None"):
            table(tmp_path, columns, right="bad", wrong="bad")
        with pytest.raises(LookupError, match=r"x.parquet lacks the columns \['worse'\]"):
            table(tmp_path, columns, right="good", wrong="worse")
        with pytest.raises(ValueError, match=r"right='good' and wrong=None, and of clips the col"):
            TableColumns(right="good")
        with pytest.raises(ValueError, match=r"of clips the columns \['a'\], expected both sides"):
            TableColumns(audio="a", **SIDES)

    def test_files_hold_the_same(self, tmp_path):
        for name, values in (("a", ["x"]), ("b", [b"x"])):
            pq.write_table(pa.table({"good": values, "bad": values}), tmp_path / f"{name}.parquet")
        with pytest.raises(ValueError, match=r"b.parquet holds .*'sound'.*, expected .*'text'"):
            ParquetRows(tmp_path, ReadOptions(), TableColumns(**SIDES))

    @pytest.mark.parametrize(
        ("kind", "values"),
        [
            (pa.large_string(), ["x"]),
            (pa.string_view(), ["x"]),
            (pa.dictionary(pa.int32(), pa.string()), ["x"]),
            (pa.large_binary(), [b"x"]),
            (pa.large_list(pa.int16()), [[1]]),
            (pa.list_(pa.int64(), 2), [[1, 2]]),
        ],
    )
    def test_types_of_either_width(self, tmp_path, kind, values):
        column = pa.array(values, kind)
        data = table(tmp_path, {"good": column, "bad": column}, frame_rate_hz=25.0, **SIDES)
        assert data.has_sound == (values == [b"x"])
        if data.has_sound:
            assert "libsndfile cannot decode" in refused(data, 0)
        else:
            trial = read(data, rate_hz=None)
            said = trial.right.text if trial.right.units is None else trial.right.units.ids.tolist()
            assert said == values[0]
