"""The text of an alignment file, whichever Unicode encoding it is in."""

import codecs
from pathlib import Path

from slm_lens.errors import AlignmentError

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path, where: str) -> str:
    """Read a text file in UTF-8 or UTF-16, with or without a byte order mark.

    Args:
        path: the file.
        where: what the message begins with.

    Returns:
        The text, its lines ending in a line feed.

    Raises:
        AlignmentError: the file is missing, a folder or a pipe, empty, binary, or in another
            encoding.

    Source:
        Praat's manual, "TextGrid file formats": Praat writes UTF-8 or UTF-16.
    """
    if path.is_dir():
        raise AlignmentError(f"{where}: got a folder, expected an alignment file. Name a file.")
    if not path.exists():
        raise AlignmentError(f"{where}: got no such file, expected an alignment. Check the path.")
    if not path.is_file():  # a pipe would be waited for
        raise AlignmentError(f"{where}: got a pipe or device, expected a file. Copy it first.")
    content = path.read_bytes()
    if not content.strip():
        raise AlignmentError(f"{where}: got an empty file, expected words with times.")
    if content.startswith(b"ooBinaryFile"):
        raise AlignmentError(
            f"{where}: got a binary Praat file, expected text. In Praat: Save > Save as text file."
        )
    encoding = _encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise AlignmentError(
            f"{where}: got byte 0x{content[error.start]:02x} at position {error.start}, which is "
            f"not {encoding.upper()}; expected UTF-8 or UTF-16. If it is Latin-1, convert it: "
            "`iconv -f latin1 -t utf-8 FILE > NEW`."
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _encoding(content: bytes) -> str:
    """The encoding by the byte order mark, or by where the zeros of UTF-16 are."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return encoding
    if content[:1] == b"\0":
        return "utf-16-be"
    return "utf-16-le" if content[1:2] == b"\0" else "utf-8"
