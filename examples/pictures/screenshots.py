"""The screenshots of the docs: the report of a run, a sentence, and the app, wide and narrow.

```bash
slm-lens demo --out runs/demo
python examples/pictures/screenshots.py runs/demo docs   # needs Chromium
```
"""

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

import slm_lens

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WIDE, NARROW = (1280, 1500), (390, 1250)
PORT = 7871
SENTENCE = "the zebra lives in the desert and finds a golden castle"


def report(browser: Browser, path: Path, size: tuple[int, int]) -> Page:
    """The explorer of a report, with a word chosen."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme="light")
    page.goto(path.resolve().as_uri())
    cells = page.locator("[data-kind=explorer] td[role=gridcell]")
    cells.nth(3).click()
    page.locator("[data-kind=explorer]").evaluate("e => window.scrollTo(0, e.offsetTop)")
    return page


def app(browser: Browser, address: str, size: tuple[int, int]) -> Page:
    """The app, after a typed sentence."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme="light")
    page.goto(address)
    page.get_by_role("textbox").first.fill(SENTENCE)
    page.get_by_role("button", name="Speak and read").click()
    frame = page.frame_locator("iframe.slm-lens").first
    frame.locator("td[role=gridcell]").nth(3).click(timeout=60_000)
    page.mouse.move(0, 0)
    page.evaluate("window.scrollTo(0, 0)")
    return page


@contextmanager
def served() -> Iterator[str]:
    """The app on a port of this machine."""
    command = [sys.executable, "-m", "slm_lens", "app", "--port", str(PORT)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(240):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", PORT)) == 0:
                    break
            time.sleep(0.5)
        yield f"http://127.0.0.1:{PORT}"
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Take them all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder, such as that of slm-lens demo")
    parser.add_argument("out", type=Path, help="folder of the pictures")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright, served() as url:
        path = Path(folder) / "report.html"
        slm_lens.report_run(options.run, path)
        browser = playwright.chromium.launch(executable_path=options.chromium, args=ARGUMENTS)
        for suffix, size in (("", WIDE), ("-narrow", NARROW)):
            for name, page in (
                ("report", report(browser, path, size)),
                ("app-look", app(browser, url, size)),
            ):
                page.wait_for_timeout(2000)  # fonts and charts
                page.screenshot(path=options.out / f"{name}{suffix}.png")
                page.close()


if __name__ == "__main__":
    main()
