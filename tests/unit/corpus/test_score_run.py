"""Runs of the kind ``score``: the numbers of `score_trials` in one go, from any data of trials."""

import io
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from short_clips import write_clips
from slamkit_folders import WORDS

import slm_lens
from slm_lens import Item, Joined, RunError, Trial, TrialItem, Units
from slm_lens.corpus.items import AnyItem
from slm_lens.corpus.kinds.kind import KindInput
from slm_lens.corpus.kinds.score import ScoreKind
from slm_lens.corpus.plan import RunPlan
from slm_lens.corpus.run import run_corpus
from slm_lens.corpus.run_config import run_config
from slm_lens.lens.control_words import CorpusWords

RATE_HZ = 25.0


@pytest.fixture(scope="module")
def organism():
    return slm_lens.load("organism")


def run(model, out, data, **changes):
    entries = {"model": {"name": "given"}, "data": data, "out": str(out), "kind": "score"}
    return run_corpus(run_config(entries, changes), model=model)


def units_of(ids, durations=None):
    frames = torch.ones(len(ids), dtype=torch.int64) if durations is None else durations
    return Units(torch.tensor(ids), torch.as_tensor(frames), RATE_HZ)


def trial_of(name: str, part: str, right: Any, wrong: Any) -> Trial:
    """A trial of two joined sequences, or of two whole ones."""
    if isinstance(right, Joined):
        assert isinstance(wrong, Joined)
        return Trial(name, part, right.sequence, wrong.sequence, right.start, wrong.start)
    return Trial(name, part, right, wrong)


def ids_of(model, sequence):
    return [model.vocab.streams["units"].index(t) for t in sequence.tokens.tolist()]


def drawn_units(rng, n):
    """Deduplicated units of the tiny model."""
    steps = rng.integers(1, 20, n)
    return (np.cumsum(steps) % 20).tolist()


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Units with a spoken prompt, and the same with written sides."""
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {"id": [f"t{i:02d}" for i in range(17)]}
    columns["part"] = [("one", "two")[i % 2] for i in range(17)]
    for side in ("prompt", "good", "bad"):
        columns[side] = [drawn_units(rng, int(rng.integers(3, 16))) for _ in range(17)]
        columns[f"{side}_text"] = [
            " ".join(WORDS[int(w)] for w in rng.integers(len(WORDS), size=int(rng.integers(1, 5))))
            for _ in range(17)
        ]
    columns["good"][3] = [columns["prompt"][3][-1], *columns["good"][3]]  # one unit across the join
    path = tmp_path_factory.mktemp("rows") / "trials.parquet"
    pq.write_table(pa.table(columns), path)
    return columns, path


def data_of(path, **entries):
    sides = {"right_column": "good", "wrong_column": "bad", "part_column": "part"}
    fixed = {"format": "parquet", "path": str(path), "name_column": "id", "frame_rate_hz": RATE_HZ}
    return fixed | sides | entries


def joined(first, then):
    """By hand: a run of one unit across the join is written once."""
    return first + (then[1:] if then[0] == first[-1] else then)


def spoken_trials(model, columns):
    trials = []
    for i, name in enumerate(columns["id"]):
        prompt, sides = columns["prompt"][i], [columns[s][i] for s in ("good", "bad")]
        sequences = [model.sequence_from_units(units_of(joined(prompt, s))) for s in sides]
        trials.append(
            trial_of(name, columns["part"][i], *(Joined(s, len(prompt)) for s in sequences))
        )
    return trials


class TestTheNumbersOfOneGo:
    def test_spoken_prompts_one_at_a_time_to_the_bit(self, tiny_model, rows, tmp_path):
        columns, path = rows
        trials = spoken_trials(tiny_model, columns)
        assert columns["prompt"][3][-1] == columns["good"][3][0] != columns["good"][3][1]
        one_go = slm_lens.score_trials(tiny_model, trials)
        data = data_of(path, prompt_column="prompt")
        for size in (1, 5, 100):
            done = run(
                tiny_model, tmp_path / str(size), data, tokens_per_batch=1, items_per_shard=size
            )
            scores = done.scores()
            assert scores.table.equals(one_go.table)
            assert (scores.within, scores.provenance) == (one_go.within, one_go.provenance)
            assert scores.accuracy(region="completion").equals(one_go.accuracy(region="completion"))
        assert done.errors.collect().is_empty()
        lengths = [max(len(t.right), len(t.wrong)) for t in trials]
        assert done.items.collect()["n_tokens"].to_list() == lengths

    def test_in_batches_they_differ_by_rounding(self, tiny_model, rows, tmp_path):
        columns, path = rows
        one_go = slm_lens.score_trials(tiny_model, spoken_trials(tiny_model, columns))
        shapes = []
        hook = tiny_model.plain_forward._shell.register_forward_pre_hook(
            lambda _m, _args, kwargs: shapes.append(kwargs["input_ids"].shape), with_kwargs=True
        )
        try:
            data = data_of(path, prompt_column="prompt")
            scores = run(tiny_model, tmp_path, data, tokens_per_batch=120).scores()
        finally:
            hook.remove()
        assert all(n * length <= 120 for n, length in shapes)  # both sides count
        assert max(n for n, _ in shapes) >= 6
        whole = ["trial", "part", "side", "region", "n_tokens"]
        assert scores.table.select(whole).equals(one_go.table.select(whole))
        gap = (scores.table["sum_log_prob"] - one_go.table["sum_log_prob"]).abs()
        assert 0 < (gap / scores.table["n_tokens"]).to_numpy().max() < 1e-5

    @pytest.mark.parametrize("within", ["full", "text", "speech"])
    @pytest.mark.parametrize("sides", ["good bad", "good_text bad_text"])
    @pytest.mark.parametrize("prompt", [None, "prompt", "prompt_text"])
    def test_any_modalities(self, tiny_model, rows, tmp_path, prompt, sides, within):
        """Each way of writing, and what of it can be scored; beside the functions of one go."""
        columns, path = rows
        right, wrong = sides.split()
        written = right.endswith("text")
        trials = []
        for i, name in enumerate(columns["id"]):
            parts = [columns[s][i] if written else units_of(columns[s][i]) for s in (right, wrong)]
            both: list[Any]
            if prompt is None and written:
                both = [tiny_model.sequence_from_text(p) for p in parts]
            elif prompt is None:
                both = [tiny_model.sequence_from_units(p) for p in parts]
            elif prompt == "prompt" and not written:
                trials = spoken_trials(tiny_model, columns)
                break
            else:
                first = columns[prompt][i]
                first = first if prompt == "prompt_text" else units_of(first)
                both = [slm_lens.join_segments(tiny_model, first, p) for p in parts]
            trials.append(trial_of(name, columns["part"][i], *both))
        data = data_of(path, prompt_column=prompt, right_column=right, wrong_column=wrong)
        done = run(tiny_model, tmp_path, data, score={"within": within}, tokens_per_batch=1)
        if within == ("speech" if written else "text"):
            reasons = done.errors.collect()
            assert set(reasons["stage"]) == {"sequence"}
            assert len(reasons) == 17
            message = f"run_corpus: got within='{within}' for the trial 't00'"
            assert reasons["reason"][0].startswith(message)
            with pytest.raises(RunError, match=r"no item of .* could be read"):
                done.scores()
            return
        one_go = slm_lens.score_trials(tiny_model, trials, within=within)
        assert done.scores().table.equals(one_go.table)
        assert done.scores().within == within

    def test_autocast(self, tiny_model, rows, tmp_path):
        columns, path = rows
        exact = slm_lens.score_trials(tiny_model, spoken_trials(tiny_model, columns))
        data = data_of(path, prompt_column="prompt")
        half = run(tiny_model, tmp_path, data, tokens_per_batch=1, autocast="bfloat16").scores()
        assert half.provenance.autocast == "bfloat16"
        gap = half.to_frame()["mean_log_prob"] - exact.to_frame()["mean_log_prob"]
        assert 1e-6 < gap.abs().to_numpy().max() < 0.02  # bfloat16 has 8 bits; measured 2e-3

    def test_the_marker_of_slamkits_metric(self, tiny_model, rows, tmp_path):
        columns, path = rows
        data = data_of(path, prompt_column="prompt", right_column="good_text",
                       wrong_column="bad_text")  # fmt: skip
        done = run(tiny_model, tmp_path, data, score={"marked": True}, tokens_per_batch=1)
        trials = []
        for i, name in enumerate(columns["id"]):
            prompt = units_of(columns["prompt"][i])
            both = [
                slm_lens.join_segments(tiny_model, prompt, columns[s][i], marked=True)
                for s in ("good_text", "bad_text")
            ]
            assert both[0].sequence.kinds[0] == "marker"
            trials.append(trial_of(name, columns["part"][i], *both))
        assert done.scores().table.equals(slm_lens.score_trials(tiny_model, trials).table)
        whole = run(tiny_model, tmp_path / "whole", data_of(path), score={"marked": False})
        reason = whole.errors.collect()["reason"][0]
        assert "got score.marked=False for a trial without a prompt, expected none" in reason


def no_items() -> Iterator[tuple[str, AnyItem]]:
    return iter(())


class TestUnitsPutTogether:
    """Prompt and side as units: ids and frames of the whole, and where the completion begins."""

    def ready(self, model, prompt, right, wrong=None):
        config = run_config(
            {"model": {"name": "x"}, "data": {"format": "trials", "path": "x"}, "out": "x",
             "kind": "score"}
        )  # fmt: skip
        plan = RunPlan(pl.DataFrame(), CorpusWords.of([]), "")
        given = KindInput(model, plan, config, no_items, None)
        item = TrialItem("", Item(units=prompt), Item(units=right), Item(units=wrong or right))
        return ScoreKind(given).ready(0, "t", item).work

    @pytest.mark.parametrize(
        ("prompt", "right", "tokens"),
        [([3, 4], [5, 6], [3, 4, 5, 6]), ([3, 4], [4, 5, 4], [3, 4, 5, 4])],
    )
    def test_a_unit_across_the_join_is_one_and_the_prompts(self, tiny_model, prompt, right, tokens):
        trial = self.ready(tiny_model, units_of(prompt, [2, 3]), units_of(right))
        assert ids_of(tiny_model, trial.right) == tokens
        assert trial.right_start == 2

    def test_repeats_stay_where_the_family_does_not_say(self, own_model):
        own_model.vocab_spec = None
        trial = self.ready(own_model, units_of([3, 4]), units_of([4, 5]))
        assert ids_of(own_model, trial.right) == [3, 4, 4, 5]

    def test_what_cannot_be_put_together(self, tiny_model):
        other = Units(torch.tensor([5]), torch.tensor([1]), 50.0)
        with pytest.raises(ValueError, match=r"got a prompt of 25.0 and a completion of 50.0 fram"):
            self.ready(tiny_model, units_of([3]), other)
        with pytest.raises(ValueError, match="got prompt and completion as several streams"):
            self.ready(tiny_model, {"units": units_of([3])}, units_of([5]))
        with pytest.raises(ValueError, match="before which 1 of 1 speech tokens start"):
            self.ready(tiny_model, units_of([3]), units_of([3]))  # nothing is left to score
        long = units_of([i % 20 for i in range(200)])
        with pytest.raises(ValueError, match=r"got 203 tokens, expected at most the 128"):
            self.ready(tiny_model, units_of([3, 4, 5]), units_of([6]), long)


def encoded(model, *waveforms):
    return model.unit_tokenizer.encode(torch.cat(waveforms))


class TestSound:
    def test_folders_of_trials(self, organism, tmp_path):
        folder = tmp_path / "set" / "a"
        folder.mkdir(parents=True)
        names = write_clips(folder, 4, ending="wav")
        whole, trials = [], []
        for number, name in enumerate(names):
            path = folder / f"{number}_{name}.wav"
            shutil.move(folder / f"{name}.wav", path)
            samples, _ = soundfile.read(path, dtype="float32")
            units = encoded(organism, torch.from_numpy(samples))
            whole.append(organism.sequence_from_units(units))
        for i in (0, 2):
            trials.append(Trial(f"a/{i}_{names[i]}", "a", whole[i], whole[i + 1]))
        shutil.copy(folder / f"0_{names[0]}.wav", folder / "4_alone.wav")
        data = {"format": "trials", "path": str(tmp_path / "set"), "layout": "swuggy"}
        done = run(organism, tmp_path / "run", data, tokens_per_batch=1)
        scores = done.scores()
        assert scores.table.equals(slm_lens.score_trials(organism, trials).table)
        (error,) = done.errors.collect().to_dicts()
        assert (error["name"], error["stage"], error["error"]) == (
            "a/4_alone",
            "read",
            "ValueError",
        )
        with pytest.raises(RunError, match=r"4_alone.*expected one file for each side"):
            run(organism, tmp_path / "strict", data, strict=True)

    def test_a_spoken_prompt_is_joined_before_it_becomes_units(self, organism, tmp_path):
        folder = tmp_path / "v"
        folder.mkdir()
        names = write_clips(folder, 3, ending="wav")
        for name, role in zip(names, ("mutual", "correct", "incorrect"), strict=True):
            shutil.move(folder / f"{name}.wav", folder / f"s_{role}.wav")
            (folder / f"s_{role}.txt").write_text({"mutual": "the zebra"}.get(role, "lives"))
        waves = [
            torch.from_numpy(soundfile.read(folder / f"s_{r}.wav", dtype="float32")[0])
            for r in ("mutual", "correct", "incorrect")
        ]
        prompt_s = len(waves[0]) / organism.unit_tokenizer.sample_rate_hz
        spoken = [
            slm_lens.join_speech(organism, encoded(organism, waves[0], w), prompt_s=prompt_s)
            for w in waves[1:]
        ]
        mixed = [
            slm_lens.join_segments(organism, "the zebra", encoded(organism, w)) for w in waves[1:]
        ]
        other = [slm_lens.join_segments(organism, encoded(organism, waves[0]), "lives")] * 2
        for prompt, completion, both in (
            ("speech", "speech", spoken),
            ("text", "speech", mixed),
            ("speech", "text", other),
        ):
            data = {
                "format": "trials", "path": str(tmp_path), "layout": "cross_modal",
                "subfolders": True, "prompt_modality": prompt, "completion_modality": completion,
            }  # fmt: skip
            out = tmp_path.parent / f"{tmp_path.name}-{prompt}-{completion}"
            scores = run(organism, out, data, tokens_per_batch=1).scores()
            expected = slm_lens.score_trials(organism, [trial_of("v/s", "v", *both)])
            assert scores.table.equals(expected.table)
            assert (scores.margins()["margin"][0] == 0.0) == (completion == "text")


@pytest.fixture(scope="module")
def spoken():
    """Samples of prompt, right and wrong completion: cut where the last word begins."""
    from slm_lens.organism.corpus import speak_sentences
    from slm_lens.organism.language import facts
    from slm_lens.speech.synthesis import EspeakSynthesizer, Voice

    synthesizer, voice, found = EspeakSynthesizer(), Voice("en-us"), []
    chosen = [f for f in facts() if f.relation in ("home", "food") and f.spoken][::2]
    for number, fact in enumerate(chosen):
        wrong = fact.counterfactuals[number % len(fact.counterfactuals)]
        cut = []
        for answer in (fact.answer, wrong):
            clip = speak_sentences(synthesizer, [f"{fact.prompt} {answer}"], voice, 16_000)
            start = round(clip.alignment.words[-1].start_s * 16_000)
            cut.append((clip.waveform[:start], clip.waveform[start:]))
        found.append((fact, cut[0][0], cut[0][1], cut[1][1]))
    return found


class TestFacts:
    """The organism's spoken facts in the layout of Common-Sense Facts Audio, from sound on."""

    def test_accuracy_is_that_of_one_go(self, organism, spoken, tmp_path):
        columns: dict[str, list[Any]] = {"id": [], "category": [], "prompt_audio": []}
        columns |= {"correct_audio": [], "counterfactual_audio": []}
        trials = []
        for fact, *waves in spoken:
            name = f"{fact.relation}: {fact.subject}"
            columns["id"].append(name)
            columns["category"].append(fact.relation)
            for column, wave in zip(list(columns)[2:], waves, strict=True):
                file = io.BytesIO()
                soundfile.write(file, wave.numpy(), 16_000, format="WAV", subtype="FLOAT")
                columns[column].append({"bytes": file.getvalue(), "path": None})
            prompt_s = len(waves[0]) / 16_000
            both = [
                slm_lens.join_speech(organism, encoded(organism, waves[0], w), prompt_s=prompt_s)
                for w in waves[1:]
            ]
            trials.append(trial_of(name, fact.relation, *both))
        pq.write_table(pa.table(columns), tmp_path / "facts.parquet", row_group_size=4)
        data = {
            "format": "parquet", "path": str(tmp_path / "facts.parquet"), "name_column": "id",
            "prompt_column": "prompt_audio", "right_column": "correct_audio",
            "wrong_column": "counterfactual_audio", "part_column": "category",
        }  # fmt: skip
        scores = run(organism, tmp_path / "run", data, items_per_shard=5).scores()
        one_go = slm_lens.score_trials(organism, trials)
        options: Any
        for options in ({}, {"norm": "sum"}, {"region": "completion"}, {"by": ()}):
            assert scores.accuracy(**options).equals(one_go.accuracy(**options))
        whole = scores.accuracy(region="completion", by=())
        assert whole["low"][0] > 0.5  # it knows its facts, so that this is no agreement of chance
        assert whole["n_trials"][0] == len(spoken) == len(scores.margins())


def test_data_and_kind_have_to_fit(tiny_model, rows, tmp_path):
    _, path = rows
    entries = {"model": {"name": "x"}, "data": data_of(path), "out": str(tmp_path)}
    with pytest.raises(ValueError, match="which hold trials, for the kind 'phases', expected data"):
        run_corpus(run_config(entries), model=tiny_model)
    (tmp_path / "t.txt").write_text("the zebra")
    text = {"format": "text", "path": str(tmp_path / "t.txt")}
    with pytest.raises(ValueError, match="which hold clips, for the kind 'score', expected data"):
        run(tiny_model, tmp_path / "x", text)


def test_an_unfinished_run_has_no_scores_and_no_words(tiny_model, rows, tmp_path):
    _, path = rows
    done = run(tiny_model, tmp_path, data_of(path), items_per_shard=9)
    assert isinstance(done.scores().table, pl.DataFrame)
    with pytest.raises(ValueError, match="got the table 'words' of a run of the kind 'score'"):
        done.word_lens()
    (tmp_path / "items" / "000001.parquet").unlink()
    with pytest.raises(RunError, match="has 1 of 2 shards, expected all"):
        slm_lens.open_run(tmp_path).scores()
