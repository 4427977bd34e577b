"""Messages of decoders are suppressed: they may quote the file."""

import subprocess
import sys

PROGRAM = """
import io
import sys

import numpy as np
from PIL import Image

from xray_core.errors import UnreadableImage
from xray_core.imaging.radiograph import read_radiograph

random = np.random.default_rng(1)
noise = Image.fromarray(random.integers(0, 256, (64, 64), dtype="u1"))
refused = 0
for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4"):
    buffer = io.BytesIO()
    image = noise.convert("1") if compression == "group4" else noise
    image.save(buffer, "TIFF", compression=compression)
    for _ in range(20):
        broken = bytearray(buffer.getvalue())
        for position in random.integers(8, len(broken), 6):
            broken[position] = random.integers(0, 256)
        try:
            if sys.argv[1] == "ours":
                read_radiograph(bytes(broken))
            else:
                Image.open(io.BytesIO(broken)).load()
        except (UnreadableImage, OSError, ValueError, SyntaxError, TypeError):
            refused += 1
print(refused)
"""


def stderr_of(reader: str) -> bytes:
    """Read a hundred damaged TIFFs in a new process; return what it wrote to file descriptor 2."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, reader], capture_output=True, check=True
    )
    assert int(run.stdout) > 30
    return run.stderr


def test_libtiff_writes_nothing_about_a_damaged_tiff():
    assert b"Decod" in stderr_of("Pillow alone")  # so there is something to suppress
    assert stderr_of("ours") == b""
