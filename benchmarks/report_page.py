"""How large the report of a run is, and how long a browser takes to open it.

```bash
slm-lens demo --out runs/demo
python benchmarks/report_page.py runs/demo
```

Time is the page's own clock, from the start of loading the file to the moment when all views are
drawn, and to when the first utterance is unpacked; in Chromium without a network, the median of
several fresh tabs. Needs
``playwright`` (`pip install 'slm-lens[dev]'`) and a Chromium, which ``--chromium`` names.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from slm_lens import report_run

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


SHOWN = '[data-kind=explorer] .drawing[data-shown]:not([data-shown=""])'
WATCH = f"""new MutationObserver(() => {{
  const now = performance.now();
  if (document.documentElement.dataset.ready && !window.drawn) window.drawn = now;
  if (document.querySelector(`{SHOWN}`) && !window.unpacked) window.unpacked = now;
}}).observe(document, {{attributes: true, subtree: true}})"""


def opened(page: Page, path: Path) -> dict[str, float]:
    """Seconds until the views are drawn, until the first utterance is, and to change to the next.

    Args:
        page: a fresh tab.
        path: the report.

    Returns:
        The three times.
    """
    page.goto(path.as_uri())
    page.locator(SHOWN).wait_for()
    drawn, unpacked = (page.evaluate(f"window.{name} / 1000") for name in ("drawn", "unpacked"))
    start = time.perf_counter()
    page.get_by_role("button", name="next ›").click()
    page.locator("[data-part=lens_grid] td[role=gridcell]").first.wait_for()
    return {"drawn": drawn, "utterance": unpacked, "next": time.perf_counter() - start}


def main() -> None:
    """Write the report, open it, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    parser.add_argument("--tabs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        start = time.perf_counter()
        path = report_run(options.run, Path(folder) / "report.html")
        wrote = time.perf_counter() - start
        browser = playwright.chromium.launch(executable_path=options.chromium, args=ARGUMENTS)
        times = []
        for _ in range(options.tabs):
            context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
            context.add_init_script(WATCH)
            times.append(opened(context.new_page(), path))
            context.close()
        browser.close()
        print(f"size {path.stat().st_size / 1e6:.1f} MB, written in {wrote:.1f} s")
        for name in times[0]:
            print(f"{name}: {statistics.median(t[name] for t in times):.2f} s")


if __name__ == "__main__":
    main()
