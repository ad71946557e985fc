"""The folder that a command writes to, looked at before the work and not after it."""

from pathlib import Path
from tempfile import TemporaryFile


def require_folder(out: Path) -> None:
    """Refuse a folder that nothing can be written to, before hours of work. Makes none.

    Args:
        out: where results shall go.

    Raises:
        ValueError: neither it nor what it would be made in can be written to.
    """
    there = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
    try:
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ValueError(
            f"--out: got {str(out)!r}, and nothing can be written in {there} ({error.strerror}), "
            "expected a folder, or a place to make it in. Give another."
        ) from None
