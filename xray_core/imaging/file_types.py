"""Recognise a file by its first bytes: DICOM, or a type that is often uploaded by mistake."""

from __future__ import annotations

DAMAGED = "The image is damaged or incomplete and cannot be read. Please export it again."
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"BM", b"GIF8", b"RIFF")
# Files uploaded by mistake: signature in lower case, its offset, and a name for the message.
_OTHER_FILES = (
    (b"%pdf", 0, "a PDF document"),
    (b"<!doctype html", 0, "a web page"),
    (b"<html", 0, "a web page"),
    (b"<svg", 0, "a drawing (SVG)"),
    (b"<?xml", 0, "an XML file"),
    (b"pk\x03\x04", 0, "a ZIP archive or an office document"),
    (b"\x1f\x8b", 0, "a compressed file (gzip)"),
    (b"7z\xbc\xaf", 0, "a compressed file (7z)"),
    (b"rar!", 0, "a compressed file (RAR)"),
    (b"\xd0\xcf\x11\xe0", 0, "an office document"),
    (b"{\\rtf", 0, "an office document"),
    (b"ftypheic", 4, "a phone's photograph in HEIC format"),
    (b"ftypheix", 4, "a phone's photograph in HEIC format"),
    (b"ftypmif1", 4, "a phone's photograph in HEIC format"),
    (b"ftypavif", 4, "an AVIF image"),
    (b"ftyp", 4, "a video"),
    (b"\0\0\0\x0cjp", 0, "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", 0, "a JPEG 2000 image"),
)


def is_dicom(data: bytes) -> bool:
    """Return True if the bytes start like a DICOM or ACR-NEMA file, with or without a preamble.

    Parameters
    ----------
    data : bytes
        At least the first 132 bytes of the file, or all of a shorter one.

    Returns
    -------
    bool

    References
    ----------
    DICOM PS3.10, section 7.1 (file meta information).
    """
    if data[128:132] == b"DICM":
        return True
    # Without a preamble the first element is of group 2 or 8, in either byte order.
    little, big = data[:2] in (b"\x02\x00", b"\x08\x00"), data[:2] == b"\x00\x08"
    if len(data) < 16 or not (little or big):
        return False
    explicit = data[4:6].isalpha() and data[4:6].isupper()
    length = int.from_bytes(data[4:8], "little" if little else "big")
    return explicit or (data[3 if little else 2] == 0 and length <= 64)


def describe_unknown(data: bytes) -> str:
    """Return a sentence for a file that no decoder recognises, with its type where known.

    Parameters
    ----------
    data : bytes
        At least the first 1024 bytes of the file, or all of a shorter one.

    Returns
    -------
    str
    """
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    for signature, offset, kind in _OTHER_FILES:
        if start[offset : offset + len(signature)].lower() == signature:
            return f"This is {kind}. Please upload the image itself as JPEG, PNG or DICOM."
    if any(start.startswith(signature) for signature in _SIGNATURES):
        return DAMAGED
    return "This is not an image that can be read. Please upload the image as JPEG, PNG or DICOM."
