"""Descriptions by hand: written, read, applied, refused."""

import shutil
from dataclasses import replace
from typing import Any

import pytest

import slm_lens
from slm_lens import ChatSpec, StreamSpec, VocabSpec, read_vocab_spec
from slm_lens.model._open import as_vocab_spec

TOKENS = {"<u0>": 7, "<u1>": 9, "<u2>": 11, "<x0>": 20, "<x2>": 21, "a": 1}

FULL = VocabSpec(
    streams={
        "pitch": StreamSpec(offset=40, count=3, step=2, frame_rate_hz=12.5),
        "units": StreamSpec(pattern="<u{unit}>", count=3, deduplicated=True),
    },
    markers={"speech": "<s>", "text": 5},
    specials=("[x]",),
    before=("<s>", 3),
    after="bye",
    mark_text_only=True,
    leading_space=False,
    chat={"speech": ChatSpec(before="<user>", after=(4, "<bot>"))},
    base_rows=30,
    word_policy="prefixes",
)

UNITS = "streams: {units: {offset: 3, count: 2}}\n"


class TestStreams:
    def test_ids_by_pattern_and_by_offset(self):
        assert StreamSpec(pattern="<u{unit}>", step=2).ids("units", TOKENS) == range(7, 13, 2)
        assert StreamSpec(offset=40, count=3, step=2).ids("pitch", {}) == range(40, 46, 2)

    def test_numbers_may_be_padded_with_zeros(self):
        tokens = {"<|sound_0000|>": 4, "<|sound_0001|>": 5}
        assert StreamSpec(pattern="<|sound_{unit}|>").ids("units", tokens) == range(4, 6)

    @pytest.mark.parametrize(
        ("stream", "message"),
        [
            (StreamSpec(pattern="<u{unit}>"), r"3 units .* ids 7 to 11, .* 1 apart"),
            (StreamSpec(pattern="<x{unit}>"), r"2 units .* expected <x0> to <x1>"),
            (StreamSpec(pattern="<y{unit}>"), r"no token like '<y0>'.*text_tokenizer="),
            (StreamSpec(pattern="<u{unit}>", step=2, count=4), r"has 3 units .*, expected 4"),
        ],
    )
    def test_units_that_do_not_fit_are_refused(self, stream, message):
        with pytest.raises(slm_lens.VocabError, match=message):
            stream.ids("units", TOKENS)

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"offset": 4},
            {"count": 4},
            {"pattern": "<u>"},
            {"pattern": "<u{unit}{unit}>"},
            {"pattern": "<u{unit}>", "offset": 3, "count": 4},
            {"pattern": "<u{unit}>", "offset": 2},
            {"pattern": "", "offset": 2},
        ],
        ids=str,
    )
    def test_either_a_pattern_or_an_offset_with_a_count(self, options):
        with pytest.raises(ValueError, match=r"either a pattern with one \{unit\}"):
            StreamSpec(**options)

    @pytest.mark.parametrize(
        "odd", [{"offset": -1}, {"count": 0}, {"step": 0}, {"count": 2**31}, {"offset": True}]
    )
    def test_numbers_out_of_range(self, odd):
        with pytest.raises(ValueError, match="offset >= 0, count >= 1 and step >= 1"):
            StreamSpec(**({"offset": 4, "count": 3} | odd))

    @pytest.mark.parametrize("rate", [0, -12.5, float("nan"), float("inf")])
    def test_a_frame_rate_is_positive(self, rate):
        with pytest.raises(ValueError, match=r"got frame_rate_hz=.*, more than 0"):
            StreamSpec(offset=4, count=3, frame_rate_hz=rate)

    @pytest.mark.parametrize(
        ("odd", "message"),
        [
            ({"pattern": 5}, r"got pattern=5, expected a text as \"<Un\{unit\}>\""),
            ({"frame_rate_hz": "50"}, r"got frame_rate_hz='50', expected a number as 25"),
            ({"frame_rate_hz": True}, r"got frame_rate_hz=True, expected a number"),
            ({"deduplicated": "no"}, r"got deduplicated='no', expected True or False"),
        ],
    )
    @pytest.mark.usefixtures("untyped")
    def test_values_of_another_kind(self, odd, message):
        with pytest.raises(ValueError, match=f"StreamSpec: {message}"):
            StreamSpec(**({"offset": 4, "count": 3} | odd))


class TestSpec:
    unit = StreamSpec(offset=4, count=3)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"streams": {"units": "<u>"}}, r"each a StreamSpec by name\. Write streams="),
            ({"streams": {"units": {"offset": 4, "count": 3}}}, r"each a StreamSpec by name"),
            ({"streams": None}, r"got streams=None, expected each a StreamSpec"),
            ({"chat": {"speech": "x"}}, r"each a ChatSpec by name\. Write chat="),
            ({"has_text": "no"}, r"got has_text='no', expected True or False"),
            ({"base_rows": -1}, r"got base_rows=-1, expected a number of rows, 0 or more"),
            ({"word_policy": 3}, r"got word_policy=3, expected a name"),
        ],
    )
    @pytest.mark.usefixtures("untyped")
    def test_values_of_another_kind(self, options, message):
        with pytest.raises(ValueError, match=f"VocabSpec: .*{message}"):
            VocabSpec(**({"streams": {"units": self.unit}} | options))

    @pytest.mark.parametrize("modality", ["speech", "text"])
    def test_only_what_has_a_marker_can_be_marked(self, modality):
        message = (
            rf"mark_{modality}_only=True .*'{modality}_end'.*, expected one named '{modality}'"
        )
        switch: dict[str, Any] = {f"mark_{modality}_only": True}
        with pytest.raises(ValueError, match=message):
            VocabSpec(streams={"units": self.unit}, markers={f"{modality}_end": 3}, **switch)

    def test_a_stream_named_units_is_needed(self):
        with pytest.raises(
            ValueError, match=r"got streams \['pitch'\], expected one named 'units'"
        ):
            VocabSpec(streams={"pitch": self.unit})

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"markers": {"song": 3}}, r"markers \['song'\], expected some of \('speech'"),
            ({"chat": {"song": ChatSpec("a", "b")}}, r"chat \['song'\]"),
            ({"word_policy": "stems"}, r"word_policy \['stems'\], .*'whole_word'"),
        ],
    )
    def test_unknown_names(self, options, message):
        from jaxtyping import TypeCheckError  # a literal is also checked by the types in tests

        with pytest.raises((ValueError, TypeCheckError), match=r"got|stems") as error:
            VocabSpec(streams={"units": self.unit}, **options)
        if isinstance(error.value, ValueError):
            assert error.match(message)

    def test_written_and_read_it_is_the_same(self, tmp_path):
        path = tmp_path / "slm_lens.yaml"
        FULL.write(path)
        read = read_vocab_spec(path)
        second = tmp_path / "again.yaml"
        read.write(second)
        assert second.read_text() == path.read_text()
        assert read.streams == dict(FULL.streams)
        assert list(read.streams) == ["pitch", "units"]  # their order is their meaning
        assert read.before is not None
        assert tuple(read.before) == FULL.before
        assert read.after == "bye"
        assert tuple(read.chat["speech"].after) == (4, "<bot>")
        assert (read.base_rows, read.leading_space, read.word_policy) == (30, False, "prefixes")
        VocabSpec(streams={"units": self.unit}).write(path)
        assert path.read_text() == "streams:\n  units:\n    offset: 4\n    count: 3\n"

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("streams: [", "is no description"),
            ("just text", "is no description"),
            ("streams: {units: {offset: 3, count: 2}}\ncolour: red", "colour"),
            ("streams: {units: {offset: 3, length: 2}}", "length"),
            ("markers: {}", "expected one named 'units'"),
            ("!!python/object/apply:os.getcwd []", "is no description"),
            (f"{UNITS}before: 5", "got before=5, expected a text, or a list"),
            (f"{UNITS}after: [1.5]", r"got after=\[1.5\], expected a text, or a list"),
            (f"{UNITS}markers: {{speech: [1]}}", "got markers=.*, expected tokens by name"),
            (f"{UNITS}specials: <s>", "got specials='<s>', expected a list"),
            (f"{UNITS}has_text: 'no'", "got has_text='no', expected True or False"),
            (f"{UNITS}base_rows: many", "got base_rows='many', expected a number of rows"),
            (f"{UNITS}chat: {{speech: {{before: 3, after: a}}}}", "ChatSpec: got before=3"),
            ("", "the file holds None, expected entries"),
            ("streams:", "streams holds None, expected entries"),
            (
                'streams: {units: "<{unit}>"}',
                r"streams\.units holds '<\{unit\}>', expected entries",
            ),
            (f"{UNITS}chat: {{speech: x}}", r"chat\.speech holds 'x', expected entries"),
            (UNITS[:-2] + ", units: {offset: 4, count: 2}}", r"\['units'\] stand twice"),
            (f"{UNITS}family: a\nfamily: b", r"\['family'\] stand twice .*each entry once"),
            ("streams: {units: {offset: 3, count: 2, deduplicated: 'no'}}", "without quotes"),
        ],
    )
    @pytest.mark.usefixtures("untyped")
    def test_other_files_are_refused(self, tmp_path, content, message):
        (tmp_path / "spec.yaml").write_text(content)
        with pytest.raises(ValueError, match=rf"(?s)read_vocab_spec: .*{message}.*docs/families"):
            read_vocab_spec(tmp_path / "spec.yaml")


class TestLoading:
    @pytest.fixture
    def plain(self, published, tmp_path):
        """A Llama with units that no family knows: Ichigo's, without its markers' names."""
        folder = shutil.copytree(published("Ichigo").path, tmp_path / "plain")
        for name in ("tokenizer.json", "tokenizer_config.json"):
            text = (folder / name).read_text(encoding="utf-8")
            text = text.replace("<|sound_start|>", "<say>").replace("<|sound_end|>", "</say>")
            (folder / name).write_text(text, encoding="utf-8")
        return folder

    @pytest.fixture
    def spec(self):
        return VocabSpec(
            streams={"units": StreamSpec(pattern="<|sound_{unit}|>")},
            markers={"speech": "<say>", "speech_end": "</say>"},
            mark_speech_only=True,
        )

    def test_of_no_family_until_it_is_described(self, plain, spec, loaded):
        with pytest.raises(ValueError, match=r"(?s)ichigo: its tokenizer has no <\|sound_start\|>"):
            slm_lens.load(plain)
        own = loaded("Ichigo")
        spec.write(plain.parent / "spec.yaml")
        for given in (spec, plain.parent / "spec.yaml", str(plain.parent / "spec.yaml")):
            described = slm_lens.load(plain, vocab_spec=given)
            assert described.provenance.family == "described"
            assert described.vocab.kind_of.tolist() == own.vocab.kind_of.tolist()
            assert described.prompt_format.before == own.prompt_format.before

    def test_a_description_in_the_folder_goes_before_families(
        self, plain, spec, published, tmp_path
    ):
        spec.write(plain / "slm_lens.yaml")
        assert slm_lens.load(plain).provenance.family == "described"
        folder = shutil.copytree(published("Ichigo").path, tmp_path / "ichigo")
        VocabSpec(streams=spec.streams).write(folder / "slm_lens.yaml")
        model = slm_lens.load(folder)
        assert model.provenance.family == "described"
        assert not model.vocab.markers
        assert slm_lens.load(folder, family="ichigo").vocab.markers

    def test_a_family_and_a_description_exclude_each_other(self, plain, spec):
        with pytest.raises(ValueError, match=r"family='ichigo' and a vocab_spec, expected one"):
            slm_lens.load(plain, family="ichigo", vocab_spec=spec)

    def test_a_token_that_is_not_there(self, plain, spec):
        other = VocabSpec(streams=spec.streams, markers={"speech": "<sing>"})
        with pytest.raises(slm_lens.VocabError, match=r"has no token '<sing>'.*or give ids"):
            slm_lens.load(plain, vocab_spec=other)

    def test_text_without_a_tokenizer(self, published):
        spec = VocabSpec(streams={"units": StreamSpec(offset=4, count=500)})
        with pytest.raises(
            slm_lens.VocabError, match=r"has no tokenizer, expected text_tokenizer="
        ):
            slm_lens.load(published("TWIST, Llama").path, vocab_spec=spec)
        written = VocabSpec(streams=spec.streams, has_text=False, before="<s>")
        with pytest.raises(slm_lens.VocabError, match=r"no tokenizer to write '<s>' with"):
            slm_lens.load(published("TWIST, Llama").path, vocab_spec=written)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"base_rows": 5000}, r"got base_rows=5000 .*embedding has \d+ rows.* give \d+"),
            ({"before": "<nope>"}, r"no token '<nope>'; expected control tokens that it has"),
            ({"chat": {"text": ChatSpec("hi", "[NOPE]")}}, r"no token '\[NOPE\]'"),
            ({"before": [9999]}, r"ids \[9999\]; expected 0 <= id < \d+"),
            ({"after": [-1]}, r"ids \[-1\]; expected 0 <= id"),
            ({"streams": {"units": StreamSpec(offset=20, count=9)}}, r"9 of which are text"),
            ({"family": "nope"}, r"family='nope', expected one of \[.*'sims'.*or 'described'"),
        ],
    )
    def test_what_contradicts_the_checkpoint(self, plain, spec, options, message):
        with pytest.raises(ValueError, match=message):
            slm_lens.load(plain, vocab_spec=replace(spec, **options))

    def test_what_is_no_description(self, tmp_path):
        for nothing in ("", tmp_path, tmp_path / "absent.yaml"):
            with pytest.raises(ValueError, match=r"which is no file; expected a YAML file"):
                as_vocab_spec(nothing)
        with pytest.raises(TypeError, match=r"got a dict as vocab_spec, .* Write VocabSpec\("):
            as_vocab_spec({"units": "<{unit}>"})


class TestFamilyChoice:
    def test_an_unknown_name_lists_the_known_ones(self, published):
        with pytest.raises(LookupError, match=r"got family 'spirit'.*'spirit-lm'.*Did you mean"):
            slm_lens.load(published("Slam").path, family="spirit")

    def test_a_family_that_says_no_tells_why(self, published):
        with pytest.raises(ValueError, match=r"not of the family 'twist': its model_type is"):
            slm_lens.load(published("Slam").path, family="twist")

    def test_known_models_that_are_no_single_softmax_are_named(self, tmp_path):
        (tmp_path / "config.json").write_text('{"model_type": "moshi"}')
        with pytest.raises(ValueError, match=r"(?s)Moshi sums the embeddings .* not supported"):
            slm_lens.load(tmp_path)

    def test_a_family_of_ones_own(self, published):
        class Mine(slm_lens.Family):
            name, title, models = "mine", "Mine", ()
            unit_tokenizer, source = "", ""

            def why_not(self, files):
                return None if "offset" in files.config else "it has no offset"

            def spec(self, files):
                unit = StreamSpec(offset=files.number("offset") + 1, count=10)
                return VocabSpec(streams={"units": unit}, has_text=False)

        model = slm_lens.load(published("TWIST, Llama").path, family=Mine())
        assert model.provenance.family == "mine"
        assert model.vocab.streams["units"] == range(5, 15)
