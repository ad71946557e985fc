"""Short clips with word times, cut from the clips of the package: quick to encode and to run."""

import json
from importlib.resources import files
from pathlib import Path

import soundfile

HELD_OUT = Path(str(files("slm_lens").joinpath("data", "held-out")))
MAX_S = 2.0


def write_clips(folder: Path, n: int, *, ending: str = "flac") -> list[str]:
    """Writes n clips of up to 2 s, ``clip-000.flac`` beside ``clip-000.json``; returns names."""
    sources = sorted(HELD_OUT.glob("*.flac"))
    names = []
    for i in range(n):
        source = sources[i % len(sources)]
        words = json.loads(source.with_suffix(".json").read_text())["aligned_text"]
        start = words[(i // len(sources)) * 3 % (len(words) - 8)][1]
        chosen = [[w, s - start, e - start] for w, s, e in words if s >= start]
        chosen = [w for w in chosen if w[2] <= MAX_S]
        with soundfile.SoundFile(source) as file:
            rate_hz = file.samplerate
            file.seek(int(start * rate_hz))
            samples = file.read(int((chosen[-1][2] + 0.05) * rate_hz))
        name = f"clip-{i:03d}"
        soundfile.write(folder / f"{name}.{ending}", samples, rate_hz)
        about = {"file_name": name, "aligned_text": chosen}
        (folder / f"{name}.json").write_text(json.dumps(about))
        names.append(name)
    return names
