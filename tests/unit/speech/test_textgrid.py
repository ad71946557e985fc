"""Praat TextGrids and the JSON of the Montreal Forced Aligner: tiers, encodings, silence."""

import json
import time

import pytest
from praatio import textgrid

from slm_lens.errors import AlignmentError
from slm_lens.speech.alignment_files import read_alignment

LONG = '''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 2
tiers? <exists>
size = 1
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 2
        intervals: size = 4
        intervals [1]:
            xmin = 0
            xmax = 0.25
            text = ""
        intervals [2]:
            xmin = 0.25
            xmax = 1
            text = "naïve"
        intervals [3]:
            xmin = 1
            xmax = 1.5
            text = "say ""hi"""
        intervals [4]:
            xmin = 1.5
            xmax = 2
            text = "<eps>"
'''
SHORT = '''File type = "ooTextFile"
Object class = "TextGrid"

0
2
<exists>
1
"IntervalTier"
"words"
0
2
4
0
0.25
""
0.25
1
"naïve"
1
1.5
"say ""hi"""
1.5
2
"<eps>"
'''
EXPECTED = [("naïve", 0.25, 1.0), ('say "hi"', 1.0, 1.5)]


def triples(alignment):
    return [(w.word, w.start_s, w.end_s) for w in alignment]


@pytest.fixture
def grid(tmp_path):
    """Write interval tiers with praatio and give the path."""

    def write(tiers: dict[str, list[tuple[float, float, str]]], *, end_s: float = 2.0, fmt="long"):
        made = textgrid.Textgrid(0.0, end_s)
        for name, words in tiers.items():
            intervals = [textgrid.constants.Interval(*w) for w in words]
            made.addTier(textgrid.IntervalTier(name, intervals, 0.0, end_s))
        path = tmp_path / "a.TextGrid"
        made.save(str(path), f"{fmt}_textgrid", includeBlankSpaces=True)  # pyright: ignore
        return path

    return write


@pytest.mark.parametrize("text", [LONG, SHORT], ids=["long", "short"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "bom-utf-16-be"]
)
def test_both_text_formats_in_every_unicode_encoding(tmp_path, text, newline, encoding):
    content = text.replace("\n", newline)
    if encoding == "bom-utf-16-be":
        content, encoding = "\ufeff" + content, "utf-16-be"
    (tmp_path / "a.TextGrid").write_bytes(content.encode(encoding))
    assert triples(read_alignment(tmp_path / "a.TextGrid")) == EXPECTED


def test_another_encoding_is_named_with_its_byte(tmp_path):
    (tmp_path / "a.TextGrid").write_bytes(LONG.encode("latin-1"))
    with pytest.raises(AlignmentError, match=r"byte 0xef at position \d+.*not UTF-8.*iconv"):
        read_alignment(tmp_path / "a.TextGrid")
    (tmp_path / "a.TextGrid").write_bytes(LONG.encode("utf-16")[:-1])
    with pytest.raises(AlignmentError, match=r"which is not UTF-16"):
        read_alignment(tmp_path / "a.TextGrid")


def test_point_tiers_are_not_words(tmp_path):
    points = """    item [2]:
        class = "TextTier"
        name = "words"
        xmin = 0
        xmax = 2
        points: size = 1
        points [1]:
            number = 1
            mark = "click"
"""
    (tmp_path / "a.TextGrid").write_text(LONG.replace("size = 1\nitem", "size = 2\nitem") + points)
    assert triples(read_alignment(tmp_path / "a.TextGrid")) == EXPECTED


A, B = [(0.0, 2.0, "a")], [(0.0, 2.0, "b")]


@pytest.mark.parametrize(
    ("tiers", "tier", "word"),
    [
        ({"anything": A}, None, "a"),
        ({"phones": B, "words": A}, None, "a"),
        ({"phones": B, "Words": A}, None, "a"),
        ({"ann - phones": B, "ann - words": A}, None, "a"),
        ({"words": A, "ann - words": B}, None, "a"),
        ({"words": A, "phones": B}, "phones", "b"),
        ({"phones": B}, "phones", "b"),
        ({"ann - words": A, "bob - words": B}, "bob - words", "b"),
    ],
)
@pytest.mark.parametrize("kind", ["textgrid", "mfa_json"])
def test_the_tier_of_words_is_found_or_named(tmp_path, grid, tiers, tier, word, kind):
    if kind == "textgrid":
        path = grid(tiers)
    else:
        path = tmp_path / "a.json"
        path.write_text(json.dumps(mfa(tiers)))
    assert triples(read_alignment(path, tier=tier)) == [(word, 0.0, 2.0)]


@pytest.mark.parametrize(
    "tiers", [{"ann": A, "bob": B}, {"ann - words": A, "bob - words": B}, {"phones": A}]
)
def test_without_a_clear_tier_the_names_are_listed(grid, tiers):
    with pytest.raises(AlignmentError, match=r"got interval tiers \['.*tier="):
        read_alignment(grid(tiers))


def test_an_unknown_tier_lists_the_names_and_the_nearest(grid):
    with pytest.raises(
        LookupError, match=r"expected one of \['words', 'phones'\]. Did you mean 'words"
    ):
        read_alignment(grid({"words": A, "phones": B}), tier="word")


def test_two_tiers_of_one_name_are_refused(tmp_path):
    twice = LONG + LONG[LONG.index("    item [1]") :].replace("item [1]", "item [2]")
    (tmp_path / "a.TextGrid").write_text(twice)
    with pytest.raises(AlignmentError, match=r"\['words', 'words'\], expected exactly one"):
        read_alignment(tmp_path / "a.TextGrid", tier="words")


def test_marks_of_silence_are_skipped_and_unknown_words_kept(grid):
    labels = ["", "sil", "sp", "<eps>", "<unk>", "word"]
    path = grid({"words": [(i / 4, (i + 1) / 4, label) for i, label in enumerate(labels)]})
    assert [w.word for w in read_alignment(path)] == ["<unk>", "word"]


def test_a_tier_of_silence_has_no_words(grid):
    with pytest.raises(AlignmentError, match=r"a.TextGrid: Alignment: got no words"):
        read_alignment(grid({"words": [(0.0, 2.0, "sil")]}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("once upon a time", r"without Praat's header"),
        (LONG.replace("xmax = 0.25", "xmax = a quarter"), r"line 18: '' stands where the end of"),
        (LONG[: LONG.index('"say')], r"line 26: the end stands where a label should"),
        (LONG[:-4], r"line 30: a text has no closing quote"),
        (LONG.replace('"TextGrid"', '"PitchTier"'), r"object is 'PitchTier', not 'TextGrid'"),
        (LONG.replace("IntervalTier", "Tier"), r"the class of a tier is 'Tier'"),
        (LONG.replace("<exists>", "1"), r"1.0 stands where whether there are tiers should"),
        (LONG[: LONG.index("size")].replace("exists", "absent"), r"got interval tiers \[\]"),
        (LONG[: LONG.index("        intervals [4]")], r"up to 1.5 s in tier 'words'.*end at 2.0 s"),
        (SHORT[: SHORT.index("1.5\n2")], r"up to 1.5 s in tier 'words'.*end at 2.0 s"),
        (LONG.replace("xmin = 0\n", "xmin = 0.25\n"), r"starts at 0.25 s, expected 0 s"),
        (LONG.replace("xmin = 0\n", "xmin = -0.25\n"), r"got a time before 0 s"),
    ],
)
def test_a_broken_textgrid_is_named(tmp_path, text, message):
    (tmp_path / "a.TextGrid").write_text(text)
    with pytest.raises(AlignmentError, match=r"read_alignment: .*a.TextGrid: .*" + message):
        read_alignment(tmp_path / "a.TextGrid")


def test_remarks_and_what_does_not_stand_free_are_passed_over(tmp_path):
    """The rules of Praat's manual: the long format's words are remarks of the short one."""
    text = LONG.replace("xmin = 0.25", 'xmin 1:2 [3] = 0.25 ! not 5, nor "six"')
    text = text.replace("xmax = 1.5\n", "xmax=1.5\n").replace('= "naïve"', '="naïve"')
    (tmp_path / "a.TextGrid").write_text(text)
    assert triples(read_alignment(tmp_path / "a.TextGrid")) == EXPECTED


@pytest.mark.parametrize("text", ['text = "' * 100_000 + "x", '"a""' * 100_000, '"' * 200_001])
def test_texts_without_an_end_are_looked_for_once(tmp_path, text):
    """Patterns that begin anew at every quote take minutes for the first."""
    (tmp_path / "a.TextGrid").write_text(LONG[: LONG.rindex('"<eps>')] + text)
    began_s = time.process_time()
    with pytest.raises(AlignmentError, match="cannot be read"):
        read_alignment(tmp_path / "a.TextGrid")
    assert time.process_time() - began_s < 2


def test_a_binary_textgrid_is_named(tmp_path):
    (tmp_path / "a.TextGrid").write_bytes(b"ooBinaryFile\x08TextGrid\0\0\0")
    with pytest.raises(AlignmentError, match=r"got a binary Praat file.*Save as text file"):
        read_alignment(tmp_path / "a.TextGrid")


def mfa(tiers, start=0.0):
    made = {n: {"type": "interval", "entries": list(map(list, t))} for n, t in tiers.items()}
    return {"start": start, "end": 2.0, "tiers": made}


@pytest.mark.parametrize("name", ["a.json", "a.TextGrid"])
def test_mfa_json_under_either_ending(tmp_path, name):
    words = [(0, 0.5, ""), (0.5, 1.0, "the"), (1.0, 1.75, "cat"), (1.75, 2.0, "sp")]
    (tmp_path / name).write_text(json.dumps(mfa({"words": words, "phones": [(0, 2, "AH")]})))
    assert triples(read_alignment(tmp_path / name)) == [("the", 0.5, 1.0), ("cat", 1.0, 1.75)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (mfa({"words": [(0, 1)]}), r"got the entry \[0, 1\] in tier 'words'"),
        (mfa({"words": [(0, "1", "a")]}), r"got the time '1' for 'a', expected a number"),
        (mfa({"words": [(True, 1, "a")]}), r"got the time True for 'a', expected a number"),
        (mfa({"words": [(0, 1, 7)]}), r"got the word 7, expected a string"),
        (mfa({"words": [(None, 1, "a")]}), r"got no times for 1 of 1 words \('a'\)"),
        (mfa({"words": A}, start=3.5), r"starts at 3.5 s, expected 0 s"),
        (mfa({}), r"got interval tiers \[\], expected exactly one"),
        ({"tiers": []}, r"got no object with `tiers`"),
    ],
)
def test_broken_mfa_json_is_named(tmp_path, data, message):
    (tmp_path / "a.json").write_text(json.dumps(data))
    with pytest.raises(AlignmentError, match=message):
        read_alignment(tmp_path / "a.json")
