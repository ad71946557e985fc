"""``slm-lens encode``: a sound file as units and words."""

from pathlib import Path
from typing import Annotated

import typer

from slm_lens.cli.model_options import ModelOptions


def encode(
    audio: Annotated[Path, typer.Argument(help="A WAV, FLAC or OGG file.")],
    options: ModelOptions,
    model: Annotated[
        str, typer.Option(help="Embedded model, folder or hub id (owner/name).")
    ] = "organism",
    alignment: Annotated[
        Path | None, typer.Option(help="Word times; without it, units alone are shown.")
    ] = None,
) -> None:
    """Show the units of a sound file and, with word times, the units of each word."""
    from rich.table import Table

    from slm_lens._console import make_console
    from slm_lens.sequence.streams import phonetic_units
    from slm_lens.speech.alignment_files import read_alignment
    from slm_lens.speech.audio import read_audio
    from slm_lens.speech.units import Units

    slm = options.load(model)
    tokenizer = slm.unit_tokenizer
    waveform = read_audio(audio, sample_rate_hz=tokenizer.sample_rate_hz)
    speech = tokenizer.encode(waveform)
    units = phonetic_units(speech)
    typer.echo(
        f"{audio}: {units.duration_s:.2f} s, {len(units)} units at {units.frame_rate_hz:g} Hz"
        f"{' (deduplicated)' if tokenizer.dedup else ''}"
    )
    if alignment is None:
        if isinstance(speech, Units):
            typer.echo(" ".join(map(str, units.ids.tolist())))
        else:
            for name, stream in speech.items():
                typer.echo(f"{name}: {' '.join(map(str, stream.ids.tolist()))}")
        return
    words = read_alignment(alignment, clip_duration_s=waveform.numel() / tokenizer.sample_rate_hz)
    sequence = slm.sequence_from_units(speech, words)
    table = Table("word", "start s", "end s", "units")
    for w in sequence.words:
        labels = [slm.vocab.label(t) for t in sequence.tokens[w.start : w.end].tolist()]
        table.add_row(w.word, f"{w.start_s:.2f}", f"{w.end_s:.2f}", " ".join(labels))
    make_console().print(table)
