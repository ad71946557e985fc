"""Attention of many heads in a browser: our view and circuitsvis', side by side in one run.

Random causal attention of several sizes, written as one HTML file each way and opened in Chromium
without a network:

* **slm-lens**: `attention_heads`: bytes, decoded head by head, on a canvas.
* **circuitsvis**: `circuitsvis.attention.attention_heads` with its bundled script, in the least
  HTML that runs; only at sizes that its file and its drawing allow in minutes.

``build`` is the time from the array to the HTML text, ``idle`` that from opening the file to the
first moment at which the browser has nothing left to do, ``hover`` from moving the pointer over the
map to the next frame that is drawn, ``heap`` the memory of the page's JavaScript then. Each is the
median of the given repeats, each repeat in a browser process of its own. The bounds that ours is
held to stand beside it; numbers are for a quiet machine, and nothing is asserted on them.

    python benchmarks/attention_views.py           # a few minutes, nearly all of it circuitsvis'
    python benchmarks/attention_views.py --small   # seconds, to see that it runs
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--enable-precise-memory-info")
TIMEOUT_MS = 400_000


@dataclass(frozen=True)
class Case:
    """A size, whether circuitsvis can draw it, and what ours may take."""

    n_heads: int
    n_positions: int
    peer: bool
    limit_idle_s: float | None = None
    limit_mb: float | None = None


CASES = (
    Case(12, 64, peer=True),
    Case(12, 256, peer=True),
    Case(12, 512, peer=False, limit_idle_s=0.5, limit_mb=5.0),
    Case(32, 1024, peer=False, limit_idle_s=1.5),
)
SMALL = (Case(2, 16, peer=True), Case(2, 48, peer=False))


def make_attention(case: Case) -> np.ndarray:
    """Causal patterns that sum to one, sharp in some heads and flat in others."""
    rng = np.random.default_rng(0)
    shape = (case.n_heads, case.n_positions, case.n_positions)
    sharpness = np.linspace(0.3, 3, case.n_heads)[:, None, None]
    weights = np.exp(sharpness * rng.normal(size=shape)) * np.tril(np.ones(shape[1:]))
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def with_slm_lens(attention: np.ndarray) -> str:
    """Units of 500 kinds, a word for every ten."""
    import torch

    import slm_lens

    n = attention.shape[1]
    vocab = slm_lens.SpeechTextVocab(d_vocab=500, text=(), streams={"units": range(500)})
    units = torch.from_numpy(np.random.default_rng(1).integers(500, size=n))
    words = tuple(
        slm_lens.WordSpan(f"word{i}", "speech", i, min(i + 10, n), i / 25, (i + 10) / 25)
        for i in range(0, n, 10)
    )
    sequence = slm_lens.SpeechTextSequence(units, ("speech",) * n, words)
    return slm_lens.attention_heads(attention, sequence, vocab).html()


def with_circuitsvis(attention: np.ndarray) -> str:
    """Its own HTML with the bundled script, in a body; tokens that it can show."""
    from circuitsvis.utils.render import render_local

    tokens = [str(i % 500) for i in range(attention.shape[1])]
    body = render_local("AttentionHeads", attention=attention, tokens=tokens, maskUpperTri=True)
    return f"<!doctype html><meta charset=utf-8><body>{body}"


WAYS = {"slm-lens": with_slm_lens, "circuitsvis": with_circuitsvis}
MAP = {"slm-lens": "canvas.map", "circuitsvis": "canvas >> nth=-1"}
# Nothing to do: two frames and an idle moment after what is on the page has been drawn.
IDLE = """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(
  () => requestIdleCallback(() => done(performance.now())))))"""


def opened(playwright: Any, path: Path, way: str) -> dict[str, float]:
    """Seconds to idle and to the answer to the pointer, and the heap in MB."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        sys.exit(f"attention_views: none of {CHROMIUM} is on the path; apt-get install chromium.")
    browser = playwright.chromium.launch(executable_path=found, args=list(ARGUMENTS))
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    page.goto(path.as_uri(), wait_until="commit")
    page.locator(MAP[way]).wait_for()
    idle_ms = page.evaluate(IDLE)  # since the file was opened
    box = page.locator(MAP[way]).bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.6 * box["height"])
    page.evaluate(IDLE)
    start = time.perf_counter()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.7 * box["height"])
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => done()))")
    hover_s = time.perf_counter() - start
    heap_mb = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
    browser.close()
    return {"idle": idle_ms / 1000, "hover": hover_s, "heap": heap_mb}


def measure(case: Case, way: str, repeats: int) -> dict[str, float]:
    """Medians of one way."""
    from playwright.sync_api import sync_playwright

    attention = make_attention(case)
    WAYS[way](attention[:1, :4, :4])  # imports are not measured
    start = time.perf_counter()
    text = WAYS[way](attention)
    found: dict[str, float] = {"build": time.perf_counter() - start, "mb": len(text) / 1e6}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "view.html"
        path.write_text(text, encoding="utf-8")
        runs = [opened(playwright, path, way) for _ in range(repeats)]
    return found | {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def limits(case: Case, way: str) -> str:
    """What ours is held to."""
    if way != "slm-lens":
        return ""
    named = [
        f"idle < {case.limit_idle_s} s" if case.limit_idle_s else "",
        f"file <= {case.limit_mb:.0f} MB" if case.limit_mb else "",
    ]
    text = ", ".join(filter(None, named))
    return f"  {text}" if text else ""


def main() -> None:
    """Measure each size and way, and print a table."""
    parser = argparse.ArgumentParser(description="Attention in a browser, two ways.")
    parser.add_argument("--small", action="store_true", help="sizes that take seconds")
    parser.add_argument("--repeats", type=int, default=3, help="browsers opened each way")
    options = parser.parse_args()
    print(
        f"{'heads x positions':<19}{'':<13}{'build s':>8}{'file MB':>9}{'idle s':>8}{'hover s':>9}"
        f"{'heap MB':>9}{'idle ratio':>12}{'file ratio':>12}"
    )
    for case in SMALL if options.small else CASES:
        own: dict[str, float] = {}
        for way in WAYS if case.peer else ["slm-lens"]:
            found = measure(case, way, options.repeats)
            own = own or found
            size = f"{case.n_heads} x {case.n_positions}"
            print(
                f"{size:<19}{way:<13}{found['build']:>8.2f}{found['mb']:>9.2f}{found['idle']:>8.2f}"
                f"{found['hover']:>9.3f}{found['heap']:>9.1f}{found['idle'] / own['idle']:>12.1f}"
                f"{found['mb'] / own['mb']:>12.1f}{limits(case, way)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
