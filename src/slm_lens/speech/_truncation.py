"""Whether a WAV or OGG file is whole, from its bytes.

libsndfile takes a file that was cut off for a shorter one. But a WAV header states the size of its
sound (the ``data`` chunk), and the last page of an OGG file carries an end-of-stream mark.

Source: Microsoft RIFF 1991; EBU Tech 3306 (RF64); RFC 3533, section 6 (OGG pages).
"""

from io import BufferedReader, BytesIO
from typing import Literal

from slm_lens.errors import AudioError

SoundFileBytes = BufferedReader | BytesIO
"""A file on disk that is open, or one in memory."""

_STREAMED = 0x7FFFF000
"""Sizes from here up are written by programs that did not know the length (ffmpeg and sox into a
pipe); nothing is promised then."""

_OGG_TAIL_BYTES = 1 << 17
"""More than two of the largest pages (65,307 bytes): the last page starts within."""


def check_not_truncated(file: SoundFileBytes, where: str) -> None:
    """Refuse a WAV or OGG file that ends too early; other formats pass.

    Args:
        file: the file, open at its start.
        where: what the message begins with.

    Raises:
        AudioError: fewer bytes of sound than the WAV header states, or an OGG file without its
            end.
    """
    magic = file.read(4)
    if magic in (b"RIFF", b"RF64", b"RIFX"):
        promised, present = _wav_data_bytes(file, "big" if magic == b"RIFX" else "little")
        if present < promised:
            raise AudioError(
                f"{where}: got {present} bytes of sound, expected the {promised} that the WAV "
                "header promises. The file is cut off: copy or download it again."
            )
    elif magic == b"OggS" and not _ogg_ends(file):
        raise AudioError(
            f"{where}: got an OGG file whose last page is cut off or carries no end-of-stream "
            "mark, expected a whole file. Copy it again; a recording that was stopped hard is "
            "closed properly by `ffmpeg -i FILE out.ogg`."
        )


def _wav_data_bytes(file: SoundFileBytes, order: Literal["little", "big"]) -> tuple[int, int]:
    """Bytes of sound that the header promises, and that are there."""
    n_file = file.seek(0, 2)
    position, data_size_64 = 12, None
    while position + 8 <= n_file:
        file.seek(position)
        name, size = file.read(4), int.from_bytes(file.read(4), order)
        body = position + 8
        if name == b"ds64":  # RF64: riff size, then data size, 8 bytes each
            data_size_64 = int.from_bytes(file.read(16)[8:], order)
        if name == b"data":
            if size == 0xFFFFFFFF and data_size_64 is not None:
                size = data_size_64
            elif size >= _STREAMED:
                size = 0
            return size, n_file - body
        position = body + size + size % 2  # chunks start at even positions
    return 0, 0  # no data chunk: libsndfile says so itself


def _ogg_ends(file: SoundFileBytes) -> bool:
    """Whether the last page is whole and marked as the end of the stream."""
    n_file = file.seek(0, 2)
    file.seek(max(0, n_file - _OGG_TAIL_BYTES))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27:
        return False
    n_segments = page[26]
    n_page = 27 + n_segments + sum(page[27 : 27 + n_segments])
    return len(page) >= n_page and bool(page[5] & 0x04)
