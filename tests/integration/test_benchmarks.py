"""Benchmarks run and print a table; their figures are never asserted."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from embedded_hf import ROOT


@pytest.mark.slow
def test_the_word_lens_benchmark_prints_each_way():
    command = [sys.executable, str(ROOT / "benchmarks" / "word_lens.py"), "--small"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    size, header, *rows = run.stdout.splitlines()
    assert "2000 rows, 32 positions, 4 words" in size
    assert header.split() == ["seconds", "extra", "MB", "time", "ratio", "memory", "ratio"]
    assert [r.split()[0] for r in rows] == ["slm-lens", "transformer-lens", "materialised"]
    assert rows[0].split()[3] == "1.00"
    assert all(float(r.split()[1]) > 0 for r in rows)


@pytest.mark.slow
def test_the_ways_agree_on_the_ranks_that_both_give(monkeypatch: pytest.MonkeyPatch):
    """Ranks in full at a word's last position, of the current and the next word."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import word_lens as benchmark  # pyright: ignore[reportMissingImports]

    model, utterance = (
        benchmark.make_model(benchmark.SMALL, n_heads=4, mlp_ratio=3),
        benchmark.make_utterance(benchmark.SMALL),
    )
    table = benchmark.with_slm_lens(model, utterance)().table
    current, following = benchmark.with_transformer_lens(model, utterance)()
    max_text, max_full, *_ = benchmark.materialised(model, utterance)()
    n_words = len(utterance.sequence.words)
    last = slice(benchmark.UNITS_A_WORD - 1, None, benchmark.UNITS_A_WORD)

    def ours(column: str) -> list[list[int]]:  # [layer][word]; the last word has no next one
        frame = table.sort("layer", "word_index")
        rows = frame[column].to_numpy().reshape(-1, n_words)
        return rows.tolist()

    assert ours("rank_current_full_last") == (current[:, 0, last] + 1).tolist()
    next_last = [row[:-1] for row in ours("rank_next_full_last")]
    assert next_last == (following[:, 0, last][:, :-1] + 1).tolist()
    assert ours("rank_current_text_max") == max_text.tolist()
    assert ours("rank_current_full_max") == max_full.tolist()


@pytest.mark.slow
def test_the_attribution_benchmark_prints_both_ways_and_how_they_agree():
    command = [sys.executable, str(ROOT / "benchmarks" / "attribution.py"), "--small"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    size, header, *rows, agreement = run.stdout.splitlines()
    assert "2000 rows, 32 positions, 608 nodes" in size
    assert header.split() == ["seconds", "scoring", "s", "extra", "MB", "ratio", "scoring"]
    assert [r[:17].strip() for r in rows] == ["slm-lens", "transformer-lens", "runs alone"]
    assert rows[0].split()[4:] == ["1.00", "1.0"]
    assert all(float(r[17:].split()[0]) > 0 for r in rows)
    assert float(agreement.split()[4]) < 1e-5


@pytest.mark.slow
def test_the_load_benchmark_prints_each_way_in_each_dtype():
    command = [sys.executable, str(ROOT / "benchmarks" / "load.py"), "--small"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    _, header, *rows = run.stdout.splitlines()
    assert header.split()[-4:] == ["ratio", "memory", "beyond", "MB"]
    assert len(rows) == 2 * 5
    for row in rows:
        name, numbers = row[:44].strip(), [float(number) for number in row[44:].split()]
        assert name.startswith(("stored, ", "float32, "))
        assert min(numbers[:5]) > 0
        if name.endswith("transformers"):
            assert numbers[2:4] == [1.0, 1.0]


@pytest.mark.slow
def test_the_forward_benchmark_prints_each_way():
    command = [sys.executable, str(ROOT / "benchmarks" / "forward.py"), "--small"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    header, *rows = run.stdout.splitlines()
    assert header.split() == ["seconds", "extra", "MB", "time", "ratio", "memory", "ratio"]
    ways = ["transformers", "transformers, states", "slm-lens, fast", "slm-lens, hooked"]
    assert [row[:28].strip() for row in rows] == [f"32, {w}" for w in [*ways, "transformer-lens"]]
    assert all(float(row[28:].split()[0]) > 0 for row in rows)
    assert rows[0].split()[-2:] == ["1.00", "1.00"]


@pytest.mark.slow
def test_the_tuned_lens_benchmark_goes_on_and_prints_its_tables(tmp_path):
    script = str(ROOT / "benchmarks" / "tuned_lens.py")
    command = [sys.executable, script, "--out", str(tmp_path), "--small"]
    subprocess.run([*command, "--fit", "text"], capture_output=True, check=True)
    kept = (tmp_path / "text" / "cost.json").read_text()
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (tmp_path / "text" / "cost.json").read_text() == kept
    lines = run.stdout[run.stdout.index("mean KL") :].splitlines()
    names = ["logit", "text", "speech", "all", "jacobian"]
    for first, of in ((1, "on stories"), (7, "on clips")):
        assert lines[first].startswith(of)
        assert [line.split()[0] for line in lines[first + 1 : first + 6]] == names
        assert lines[first + 1].count("(100.0 %)") == 3
    recall = [[float(x) for x in line.split()[1:]] for line in lines[15:20]]
    assert all(len(row) == 9 and 0 <= min(row) <= max(row) <= 1 for row in recall)
    assert "shuffled" in lines[21]
    assert len({row[-1] for row in recall}) == 1  # the last layer is read by all lenses alike
    assert [line.split()[0] for line in lines[-5:]] == names
    assert lines[-5].split() == ["logit", "+0.000", "[+0.000,", "+0.000]"]
    assert (tmp_path / "tuned_lens.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.slow
def test_the_readout_benchmark_prints_each_way_and_they_agree(monkeypatch: pytest.MonkeyPatch):
    script = str(ROOT / "benchmarks" / "readout.py")
    run = subprocess.run([sys.executable, script, "--small"], capture_output=True, text=True)
    size, header, *rows = run.stdout.splitlines()
    assert "4000 tokens, 16 positions, 32 targets" in size
    assert header.split() == ["seconds", "to", "product", "extra", "MB"]
    ways = ["product", "slm-lens, ranks", "slm-lens, all", "materialised, ranks"]
    ways += ["materialised, all", "transformer-lens, ranks", "transformer-lens, top 10"]
    assert [row[:30].strip() for row in rows] == ways
    assert rows[0].split()[2] == "1.00"

    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import readout as benchmark  # pyright: ignore[reportMissingImports]
    import torch

    from slm_lens import residual_stack

    model = benchmark.make_model(benchmark.SMALL, n_heads=2, mlp_ratio=2)
    stack = residual_stack(model, torch.arange(16)[None])
    targets = benchmark.make_targets(benchmark.SMALL)
    given = benchmark.Given(model, None, stack, targets)
    ours = benchmark.with_slm_lens(given)["slm-lens, all"]()
    whole = benchmark.materialised(given)["materialised, all"]()
    text = targets < 4000 - 502
    for layer, ((in_text, in_speech), rest) in enumerate(whole):
        assert ours.rank["text"][layer, 0][:, text].equal(in_text[:, text])
        assert ours.rank["speech"][layer, 0][:, ~text].equal(in_speech[:, ~text])
        assert ours.top_k["text"].ids[layer, 0].equal(rest[2].indices)
        assert torch.allclose(ours.mass["units"][layer, 0], rest[3], atol=1e-6)
        assert torch.allclose(ours.entropy["text"][layer, 0], rest[1], atol=1e-5)


@pytest.mark.slow
def test_results_are_written_with_the_machine_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import results as benchmark  # pyright: ignore[reportMissingImports]

    known = {"readout": ("readout.py --small --ways product",), "load": ("no such file",)}
    monkeypatch.setattr(benchmark, "BENCHMARKS", known)
    monkeypatch.setattr(benchmark, "RESULTS", tmp_path / "RESULTS.md")
    kept = "## load\n\nof another day\n"
    (tmp_path / "RESULTS.md").write_text(f"# Benchmarks\n\n{kept}")
    monkeypatch.setattr(sys, "argv", ["results.py", "readout"])
    benchmark.main()
    text = (tmp_path / "RESULTS.md").read_text()
    assert text.index("## readout") < text.index("$ python benchmarks/readout.py --small")
    assert re.search(r"\d+ cores, load .* torch \d", text)
    assert re.search(r"^product .* 1\.00 ", text, flags=re.M)
    assert text.endswith(kept)


@pytest.mark.slow
def test_the_patching_benchmark_gives_equal_numbers_both_ways():
    command = [sys.executable, str(ROOT / "benchmarks" / "patching.py"), "--small"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = run.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[::4]] == ["wide", "deep"]
    for shape in (lines[:4], lines[4:]):
        ours, theirs = (row[17:].split() for row in shape[2:])
        assert ours[2] == "1.00"
        assert float(ours[0]) > 0
        assert 0 < float(theirs[3]) < 1e-4


@pytest.mark.slow
def test_the_attention_benchmark_prints_each_way_that_a_size_allows():
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        pytest.skip("no Chromium: `apt-get install chromium` brings it")
    script = str(ROOT / "benchmarks" / "attention_views.py")
    command = [sys.executable, script, "--small", "--repeats", "1"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    header, *rows = run.stdout.splitlines()
    assert header.split()[-4:] == ["idle", "ratio", "file", "ratio"]
    ways = [(row[:19].strip(), row[19:32].strip()) for row in rows]
    assert ways == [("2 x 16", "slm-lens"), ("2 x 16", "circuitsvis"), ("2 x 48", "slm-lens")]
    assert rows[0].split()[-2:] == ["1.0", "1.0"]
    assert all(float(x) >= 0 for row in rows for x in row[32:].split())


@pytest.mark.slow
def test_the_app_benchmark_prints_each_way():
    command = [sys.executable, str(ROOT / "benchmarks" / "app.py"), "--small"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    size, header, *rows = run.stdout.splitlines()
    assert size.startswith("10 words, ")
    assert header.split() == ["median", "longest", "sentences"]
    ways = [row[:14].strip() for row in rows]
    assert [way for way in ways if way != "in a browser"] == ["functions", "over HTTP", "8 at once"]
    assert all(0 < float(row[14:].split()[0]) <= float(row[14:].split()[1]) for row in rows)


@pytest.mark.slow
def test_the_corpus_benchmark_prints_runs_from_units_and_from_sound():
    command = [sys.executable, str(ROOT / "benchmarks" / "corpus.py"), "overhead", "--small"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    header, *rows = run.stdout.splitlines()
    assert header.split()[:2] == ["data", "items"]
    assert [r.split()[:2] for r in rows] == [["units", "24"], ["sound", "24"]]
    assert all(float(r.split()[3]) > 0 for r in rows)


def test_the_costs_on_the_page_are_those_that_the_script_prints():
    command = [sys.executable, str(ROOT / "benchmarks" / "corpus_cost.py")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    assert f"$ python benchmarks/corpus_cost.py\n{run.stdout}```" in page


def test_the_costs_by_hand():
    """10 hours: 36,000 s, at 10 frames a second of which half are kept 180,000 tokens."""
    given = {"hours": 10, "frame-rate-hz": 10, "kept": 0.5, "words-a-second": 2, "clip-s": 10,
             "n-parameters": 1e6, "d-model": 10, "n-layers": 3, "d-vocab": 25_000,
             "peak": 2.5e8, "peak-float32": 5e7, "price-low": 10, "price-high": 100,
             "row-bytes": 1e6, "row-bytes-wide": 2e6, "row-bytes-no-draws": 5e5,
             "sound-rate": 2, "items-per-shard": 36, "requests-a-shard": 7}  # fmt: skip
    flags = [f"--{name}={value}" for name, value in given.items()]
    command = [sys.executable, str(ROOT / "benchmarks" / "corpus_cost.py"), *flags]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    # F = 2 * 1e6 * 180,000 = 3.6e11; R = 2 * 10 * 25,000 * 4 * 180,000 = 3.6e11.
    # F + R = 7.2e11: 2,880 s at 2.5e8, which is 4 h at a fifth of it and 2 h at two fifths.
    # R at 5e7 is 7,200 s, with F at 2.5e8 8,640 s: 12 h and 6 h. Both at 5e7: 20 h and 10 h.
    lines = [re.split(r"  +", line.strip()) for line in run.stdout.splitlines()]
    found = {line[0]: line[2:] for line in lines}
    assert found["tokens"] == ["1.8e+05"]
    assert found["words"] == ["7.2e+04"]
    assert found["forward"] == found["readout"] == ["3.6e+11 FLOP"]
    assert found["readout share"] == ["50%"]
    assert found["GPU hours"] == ["4", "2"]
    assert found["autocast"] == ["12", "6"]
    assert found["float32"] == ["20", "10"]
    assert found["money"] == ["40", "20"]
    assert ["GPU hours x price_high", "400", "200"] in lines
    assert found["rows"] == ["2.88e+05"]
    assert [found[n] for n in ("disk", "at most", "without draws")] == [
        ["0.29 TB"], ["0.58 TB"], ["0.14 TB"]]  # fmt: skip
    assert found["MFCC units"] == ["5"]
    assert found["plan"] == ["0.0 GB"]  # 576,000 + 360,000 bytes
    assert found["shards"] == ["100"]
    assert found["requests"] == ["700"]
