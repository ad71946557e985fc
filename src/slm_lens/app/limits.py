"""What a visitor of the app may ask for: sizes are checked before anything is decoded or spoken."""

from dataclasses import dataclass
from pathlib import Path

import soundfile

from slm_lens.errors import AudioError

ENDINGS = (".wav", ".flac", ".ogg")
_MAX_CHANNELS = 8


@dataclass(frozen=True)
class Limits:
    """The largest inputs.

    Attributes:
        max_bytes: of an uploaded file.
        max_seconds: of a clip, uploaded, recorded or spoken.
        max_characters: of a typed text.
        max_new_tokens: of a continuation.

    Raises:
        ValueError: a limit is not positive.
    """

    max_bytes: int = 10_000_000
    max_seconds: float = 30.0
    max_characters: int = 400
    max_new_tokens: int = 60

    def __post_init__(self) -> None:
        if min(self.max_bytes, self.max_seconds, self.max_characters, self.max_new_tokens) <= 0:
            raise ValueError(f"Limits: got {self}, expected every limit to be positive.")

    def text(self, given: str) -> str:
        """A typed text on one line, with single spaces.

        Args:
            given: as typed.

        Returns:
            The text.

        Raises:
            ValueError: it is empty, too long, or has characters that cannot be printed.
        """
        text = " ".join(given.split())
        if not text or len(text) > self.max_characters:
            raise ValueError(
                f"got a text of {len(text)} characters, expected 1 to {self.max_characters}. "
                + ("Shorten it." if text else "Type a sentence.")
            )
        strange = sorted({c for c in text if not c.isprintable()})
        if strange:
            raise ValueError(
                f"got the characters {[f'U+{ord(c):04X}' for c in strange[:5]]}, expected ones "
                "that can be printed. Type the text again."
            )
        return text

    def file(self, path: Path) -> None:
        """Refuse a sound file that is too large or too long, from its size and header.

        Args:
            path: the file.

        Raises:
            AudioError: it has another ending, too many bytes, channels or seconds, or no header.
        """
        if path.suffix.lower() not in ENDINGS:
            raise AudioError(
                f"got a file ending in {path.suffix!r}, expected one of {ENDINGS}. Convert it: "
                "ffmpeg -i FILE out.flac"
            )
        self.small(path)
        try:
            info = soundfile.info(path)
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"got a file that cannot be read as sound ({error.error_string}), expected a "
                "whole WAV, FLAC or OGG file."
            ) from None
        if info.channels > _MAX_CHANNELS:
            raise AudioError(
                f"got {info.channels} channels, expected at most {_MAX_CHANNELS}. Mix it down."
            )
        self.seconds(info.frames / info.samplerate)

    def small(self, path: Path) -> None:
        """Refuse a file of too many bytes.

        Args:
            path: the file.

        Raises:
            AudioError: it has more.
        """
        n_bytes = path.stat().st_size
        if n_bytes > self.max_bytes:
            raise AudioError(
                f"got a file of {n_bytes / 1e6:.1f} MB, expected at most "
                f"{self.max_bytes / 1e6:g} MB. Cut it, or save it as FLAC."
            )

    def seconds(self, duration_s: float) -> None:
        """Refuse a clip that is too long.

        Args:
            duration_s: how long it is, in seconds.

        Raises:
            AudioError: it is longer.
        """
        if duration_s > self.max_seconds:
            raise AudioError(
                f"got {duration_s:.1f} s of sound, expected at most {self.max_seconds:g} s. Cut "
                "it, or start the app with --max-seconds."
            )
