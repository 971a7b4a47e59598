"""The codec under atheris, which looks for bytes that take other branches.

python codec_atheris.py -runs=100000 CORPUS
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["voidbridge_protocol"]):
    from voidbridge_protocol.errors import ProtocolError, RequestError
    from voidbridge_protocol.wire.codec import MAGIC, decode, decode_request, indices


def one(data: bytes) -> None:
    choice, rest = data[:1], data[1:]
    try:
        match choice:
            case b"r":
                decode_request(rest)
            case b"i":
                indices(rest.decode("latin-1"), 1000)
            case b"p":
                decode([MAGIC, rest, b"payload"])
            case b"h":
                decode([MAGIC, rest])
            case _:
                decode(rest.split(b"\xff"))
    except (ProtocolError, RequestError):
        pass


def main() -> None:
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
