"""The app: from a typed sentence of ten words to the drawn answer, in a browser and without.

``slm-lens app`` with the embedded organism, as a user starts it, and sentences of ten words, each
another one, the first of which is not counted (it starts what is started once).

* **functions**: what the app calls: speaking, units, lens grid, attention, attribution, and the
  page as HTML. In this process.
* **over HTTP**: the same from the app's queue, to the last byte, by gradio's client.
* **in a browser**: from the click to the frame with all views drawn, in the system's Chromium on
  the same cores; left out where there is none.
* **8 at once**: over HTTP, from the first of eight visitors to the last answer.

One thread for torch. Seconds; nothing is asserted on them.

    python benchmarks/app.py            # half a minute
    python benchmarks/app.py --small    # two sentences, to see that it runs
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

os.environ.update({"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})  # before torch

SUBJECTS = ("zebra", "tiger", "camel", "rabbit", "dolphin", "walrus", "giraffe", "octopus",
            "penguin", "monkey", "buffalo", "leopard")  # fmt: skip
N_VISITORS = 8
WAIT_MS = 60_000


def sentence(subject: str) -> str:
    """Ten words."""
    return f"the {subject} finds a ladder near the river and sleeps"


@contextmanager
def app() -> Iterator[str]:
    """Address of a running app."""
    command = [sys.executable, "-c", "from slm_lens.cli import main; main()", "app", "organism"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        for line in started.stdout:
            if found := re.match(r"slm-lens app: (http://\S+)", line):
                break
        else:
            raise SystemExit("slm-lens app did not start")
        try:
            yield found[1]
        finally:
            started.terminate()


def with_functions() -> Callable[[str], None]:
    """What the app calls."""
    import slm_lens
    from slm_lens.app.workbench import Workbench

    bench = Workbench({"organism": slm_lens.load("organism")})

    def read(subject: str) -> None:
        heard = bench.hear_text("organism", sentence(subject), "en-us")
        *_, last = bench.look("organism", heard)
        assert "<iframe" in last.html

    return read


def over_http(url: str) -> Callable[[str], None]:
    """One visitor, without a browser."""
    from gradio_client import Client

    client = Client(url, verbose=False, analytics_enabled=False)

    def read(subject: str) -> None:
        page = client.predict("organism", sentence(subject), "en-us", api_name="/read_text")[0]
        assert f"{sentence(subject)}, read by organism" in page

    return read


def in_a_browser(page: Any) -> Callable[[str], None]:
    """A visitor with a browser, in which the app is open."""

    def read(subject: str) -> None:
        page.fill("#sentence textarea", sentence(subject))
        page.click("#speak")
        frame = page.frame_locator(f"#look-out iframe[title*='{subject}']")
        frame.locator("html[data-ready=true]").wait_for(state="attached")

    return read


def timed(read: Callable[[str], None], subjects: tuple[str, ...]) -> list[float]:
    """Seconds of every sentence but the first."""
    found = []
    for subject in subjects:
        start = time.perf_counter()
        read(subject)
        found.append(time.perf_counter() - start)
    return found[1:]


def together(url: str) -> float:
    """Seconds until the last of several visitors has an answer."""
    visitors = [over_http(url) for _ in range(N_VISITORS)]
    with ThreadPoolExecutor(N_VISITORS) as pool:
        start = time.perf_counter()
        list(pool.map(lambda i: visitors[i](SUBJECTS[i]), range(N_VISITORS)))
        return time.perf_counter() - start


def show(name: str, seconds: list[float]) -> None:
    """A row of the table."""
    half = statistics.median(seconds)
    print(f"{name:<14}{half:>9.2f}{max(seconds):>9.2f}{len(seconds):>11}", flush=True)


def main() -> None:
    """Measure each way, and print a table."""
    parser = argparse.ArgumentParser(description="From a typed sentence to the answer.")
    parser.add_argument("--small", action="store_true", help="two sentences")
    subjects = SUBJECTS[:2] if parser.parse_args().small else SUBJECTS
    print(f"10 words, {os.cpu_count()} cores, 1 thread")
    print(f"{'':<14}{'median':>9}{'longest':>9}{'sentences':>11}")
    show("functions", timed(with_functions(), subjects))
    with app() as url:
        show("over HTTP", timed(over_http(url), subjects))
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        if chromium is not None:
            from playwright.sync_api import sync_playwright

            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
                )
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                page.set_default_timeout(WAIT_MS)
                page.goto(url)
                page.wait_for_selector("#speak")
                show("in a browser", timed(in_a_browser(page), subjects))
                browser.close()
        show(f"{N_VISITORS} at once", [together(url)])


if __name__ == "__main__":
    main()
