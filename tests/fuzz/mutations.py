"""Documents that are nearly valid: what hostile files are made of."""

import re
from collections.abc import Callable, Sequence
from random import Random

MOST_BYTES = 1 << 14

NUMBERS = (
    b"0", b"-1", b"-0.5", b"1e999", b"-1e999", b"nan", b"NaN", b"inf", b"-Infinity", b".inf",
    b".nan", b"1e-400", b"1e308", b"9" * 20, b"9" * 400, b"9" * 5000, b"0x" + b"F" * 400, b"1:1.0",
    b"1" + b":59" * 400 + b".5", b"2147483648", b"9223372036854775808", b"true", b"null", b'"1"',
    b"1_0", b"2001-99-99", "٣".encode(),
)  # fmt: skip
TEXTS = (
    b'"\\ud800"', b'"\\u0000"', b'""', b'" "', b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80",
    b"../..", b'"a/../../b"', b"!!timestamp x", b"!!binary x", b"!!bool x", b'!!int ""',
    b'!!float ""', b"!!set [a]", b"!!omap [a]", b"&a [*a]", b"<<: *a", b"? [a]", b"<<: {a: b}",
    b"{=: a}", b"%YAML 9.9\n---\n", b"%TAG ! x\n", b"\xe2\x80\xa8", b"\r", b"\t", b"\n\n", b"\\",
)  # fmt: skip
OPENERS = (b"[", b"{", b'{"a":', b"[{", b"- ", b"? ", b"(", b'"', b"a: {", b"!!a ")
DEPTHS = (3, 60, 300, 450, 900, 970, 980, 990, 1000, 5000)
WHOLES = (0, 1, -1, 0x7F, 0x7FFF, 0x8000, 0x7FFFFFFF, 0x7FFFFFFE, -(1 << 31), 0x7FFFF000, 0x1000)

_NUMBER = re.compile(rb"-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
_WORD = re.compile(rb'"[^"\n]*"|[\w.]+|[^\w\s]')

Mutation = Callable[[bytes, Random, Sequence[bytes]], bytes]


def mutated(content: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    """The content with one to four things wrong with it.

    Args:
        content: a document.
        random: draws what is done.
        others: documents of which parts may be spliced in.
    """
    for _ in range(random.choice((1, 1, 2, 4))):
        content = random.choice(_MUTATIONS)(content, random, others)
    return content[:MOST_BYTES]


def _span(content: bytes, random: Random) -> tuple[int, int]:
    first = random.randrange(len(content) + 1)
    return first, min(len(content), first + random.choice((1, 4, 16, len(content))))


def _flip(content: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    changed = bytearray(content or b"\0")
    for _i in range(random.choice((1, 1, 3))):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def _whole(content: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    """A number of a binary format."""
    n_bytes, at = random.choice((1, 2, 4, 8)), random.randrange(len(content) + 1)
    order = random.choice(("little", "big"))
    number = (random.choice(WHOLES) % (1 << 8 * n_bytes)).to_bytes(n_bytes, order)
    return content[:at] + number + content[at + n_bytes :]


def _cut(content: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def _drop(content: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    first, last = _span(content, random)
    return content[:first] + content[last:]


def _repeat(content: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    first, last = _span(content, random)
    return content[:last] + content[first:last] * random.choice((1, 2, 50)) + content[last:]


def _splice(content: bytes, random: Random, others: Sequence[bytes]) -> bytes:
    other = random.choice(list(others) or [b""])
    first, last = _span(other, random)
    at = random.randrange(len(content) + 1)
    return content[:at] + other[first:last] + content[at:]


def _put(content: bytes, random: Random, found: Sequence[re.Match[bytes]], new: bytes) -> bytes:
    """In the place of something that was found, or anywhere."""
    if found and random.random() < 0.8:
        first, last = random.choice(found).span()
    else:
        first = last = random.randrange(len(content) + 1)
    return content[:first] + new + content[last:]


def _renumber(content: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    return _put(content, random, list(_NUMBER.finditer(content)), random.choice(NUMBERS))


def _reword(content: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    new = random.choice(random.choice((TEXTS, NUMBERS)))
    return _put(content, random, list(_WORD.finditer(content)), new)


def _swap(content: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    found = list(_WORD.finditer(content))
    if len(found) < 2:
        return content
    a, b = sorted(random.sample(found, 2), key=lambda m: m.start())
    return content[: a.start()] + b[0] + content[a.end() : b.start()] + a[0] + content[b.end() :]


def _nest(content: bytes, random: Random, _: Sequence[bytes]) -> bytes:
    opener, depth = random.choice(OPENERS), random.choice(DEPTHS)
    closer = {b"[": b"]", b"{": b"}", b"[{": b"}]", b'{"a":': b"}", b"(": b")"}.get(opener, b"")
    inner = random.choice((b"", b"1", b'"a"', b'"a": 1'))
    new = opener * depth + inner + closer * random.choice((depth, depth, 0))
    return _put(content, random, list(_WORD.finditer(content)), new)


_MUTATIONS: tuple[Mutation, ...] = (
    _flip, _whole, _cut, _drop, _repeat, _splice, _renumber, _renumber, _reword, _reword, _swap,
    _nest,
)  # fmt: skip
