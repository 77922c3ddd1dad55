"""Read a response's body up to a number of bytes, decompressed."""

import zlib
from collections.abc import Iterable, Iterator

from taskplatform import Permanent

PIECE = 64 * 1024


class TooBig(Permanent):
    """The body is larger than the limit."""


def read_body(chunks: Iterable[bytes], encoding: str, max_bytes: int) -> bytes:
    """Collect the decompressed body; `encoding` is the Content-Encoding header.

    Memory stays below the limit plus one piece, whatever the ratio of compression.
    Raises TooBig, and ValueError for a body that is damaged.
    """
    body = bytearray()
    for piece in _decoded(chunks, encoding.strip().lower()):
        body += piece
        if len(body) > max_bytes:
            raise TooBig(f"the body is over {max_bytes:,} bytes")
    return bytes(body)


def _decoded(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    match encoding:
        case "" | "identity":
            return iter(chunks)
        case "gzip" | "x-gzip":
            return _inflated(chunks)
        case _:
            # Only gzip was asked for. Chains such as "gzip, gzip" multiply their ratios.
            raise Permanent(f"content encoding {encoding[:50]!r} was not asked for")


def _inflated(chunks: Iterable[bytes]) -> Iterator[bytes]:
    # httpx's own decoder inflates a whole chunk at once: 64 KiB become 64 MiB.
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        for chunk in chunks:
            pending = chunk
            while pending and not inflate.eof:
                yield inflate.decompress(pending, PIECE)
                pending = inflate.unconsumed_tail
        # What zlib still holds back after the last byte of input fits its window.
        yield inflate.flush(PIECE)
    except zlib.error as error:
        raise ValueError(f"the gzip body is damaged: {error}") from error
    if not inflate.eof:
        raise ValueError("the gzip body ends too early")
