"""Run every benchmark, one after the other, and write ``benchmarks/RESULTS.md`` with the machine.

python benchmarks/results.py                # about half an hour, on a quiet machine
python benchmarks/results.py readout load   # some, in place of what stands there of them
"""

import argparse
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
BENCHMARKS: dict[str, tuple[str, ...]] = {
    "readout": (
        "readout.py",
        "readout.py --positions 512 --ways product slm-lens",
    ),
    "word_lens": ("word_lens.py",),
    "forward": ("forward.py", "forward.py --positions 2048"),
    "load": ("load.py",),
    "patching": ("patching.py",),
    "attribution": ("attribution.py",),
    "corpus": ("corpus.py",),
    "attention_views": ("attention_views.py",),
    "app": ("app.py",),
}
PACKAGES = ("torch", "transformers", "transformer-lens", "numpy")


def machine() -> str:
    """Processor, cores, memory, versions, and what else was running."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        named = re.search(r"model name\s*: (.+)", cpuinfo.read_text(encoding="ascii"))
        processor = named[1] if named else processor
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {processor}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the start; Python {platform.python_version()}, "
        f"{packages}."
    )


def section(name: str) -> str:
    """What one benchmark prints, with its description."""
    lines = [f"## {name}", ""]
    summary = (HERE / f"{name}.py").read_text(encoding="utf-8").split('"""')[1].splitlines()[0]
    lines += [summary, "", machine(), ""]
    for command in BENCHMARKS[name]:
        script, *options = command.split()
        print(f"python benchmarks/{command}", flush=True)
        done = subprocess.run(
            [sys.executable, str(HERE / script), *options],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        print(done.stdout, flush=True)
        lines += ["```", f"$ python benchmarks/{command}", *done.stdout.splitlines(), "```", ""]
    return "\n".join(lines)


def main() -> None:
    """Run the named benchmarks and keep what stands there of the others."""
    parser = argparse.ArgumentParser(description="Run benchmarks and write RESULTS.md.")
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], default=[])
    wanted = parser.parse_args().names or list(BENCHMARKS)
    old = RESULTS.read_text(encoding="utf-8") if RESULTS.is_file() else ""
    known = {s.split("\n", 1)[0]: f"## {s}" for s in re.split(r"^## ", old, flags=re.M)[1:]}
    for name in wanted:
        known[name] = section(name)
        text = "\n".join(known[n].rstrip() + "\n" for n in BENCHMARKS if n in known)
        head = (
            "# Benchmarks\n\nWritten by `python benchmarks/results.py`; what each measures stands"
        )
        RESULTS.write_text(f"{head} in its file.\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
