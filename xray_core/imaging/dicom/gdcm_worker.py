"""Decode one compressed frame with GDCM, in a separate process.

GDCM crashes on some damaged frames, and allocates whatever memory they declare. This file is run as
a program: a line of JSON (`transfer_syntax`, `rows`, `columns`, `samples`, `allocated`,
`bits`, `signed`) and the frame on standard input, the decoded values, little endian, on standard
output.
"""

from __future__ import annotations

import json
import sys

MAX_MEMORY_BYTES = 1_500_000_000
MAX_SECONDS = 20


def limit_resources() -> None:
    """Limit the memory and time of this process, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the image


def decode(frame: bytes, options: dict) -> bytes:
    """Decode a frame.

    Parameters
    ----------
    frame : bytes
    options : dict
        The fields of the line of JSON.

    Returns
    -------
    bytes
        Values, little endian, row by row; colours pixel by pixel.

    Raises
    ------
    ValueError
        If GDCM cannot decode the frame.
    """
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((options["columns"], options["rows"], 1))
    image.SetDataElement(element)
    colour = "RGB" if options["samples"] == 3 else "MONOCHROME2"
    kind = gdcm.PhotometricInterpretation.GetPIType(colour)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    syntax = gdcm.TransferSyntax.GetTSType(options["transfer_syntax"])
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    bits, sign = options["bits"], int(options["signed"])
    image.SetPixelFormat(
        gdcm.PixelFormat(options["samples"], options["allocated"], bits, bits - 1, sign)
    )
    buffer = image.GetBuffer()
    if buffer is None:
        raise ValueError("GDCM returned no image")
    return buffer.encode("utf-8", "surrogateescape")  # GDCM returns bytes as text


if __name__ == "__main__":
    limit_resources()
    options = json.loads(sys.stdin.buffer.readline())
    sys.stdout.buffer.write(decode(sys.stdin.buffer.read(), options))
