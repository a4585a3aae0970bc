"""Small damages of a file, each drawn from a seeded generator: what transfers, disks and hostile people do to bytes."""

import random

WORDS = (
    b"\x00", b"\xff" * 8, b"\n", b"\r", b'"', b"[", b"{", b"]", b"<g>", b"&a", b"*a", b"../", b"\\", b"\xed\xa0\x80",
    b"1e999", b"NaN", b"-1", b"9" * 30, b"9" * 5000, b"18446744073709551615", b"[" * 2000, b"(" * 500, b")\x85" * 500,
    b"GNU.sparse.map=1,x", b"q\x00h\x00", b"\x86" * 40,
)  # fmt: skip
"""Bytes that readers trip over: ends of text, long and infinite numbers, nesting, names that leave a folder."""


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Return a copy of `data` with one to four damages."""
    result = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        position = draw.randrange(len(result) + 1)
        length = draw.choice((1, 1, 4, 16, 512))
        kind = draw.randrange(7)
        if kind == 0 and position < len(result):
            result[position] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del result[position : position + length]
        elif kind == 2:
            result[position:position] = draw.choice(WORDS)
        elif kind == 3:
            result[position : position + length] = draw.randbytes(length)
        elif kind == 4:
            other = draw.randrange(len(result) + 1)
            result[position:position] = result[other : other + length]
        elif kind == 5:
            del result[position:]
        else:
            result[position : position + 8] = draw.choice((0, 2**31 - 1, 2**63 - 1, 2**64 - 1, 10**18)).to_bytes(
                8, draw.choice(("little", "big"))
            )
    return bytes(result)
