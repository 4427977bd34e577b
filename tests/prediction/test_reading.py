import os
import signal
import threading

import pytest

from xray_core.errors import XrayError
from xray_core.prediction.archive import ArchivedFile
from xray_core.prediction.reading import CRASHED, Readers
from xray_core.prediction.sources import SourceFile

# Decoding the word "crash" ends the process as a crash of a decoder does; decoding "once" does so
# unless a file shows that it has been done before.
PROGRAM = """
import os
from pathlib import Path
from xray_core.prediction import reading_worker

open_radiograph = reading_worker.open_radiograph

def open_or_fail(data):
    done = Path({done!r})
    if data == b"crash" or (data == b"once" and not done.exists()):
        done.touch()
        os.abort()
    print("a decoder prints this")
    return open_radiograph(data)

reading_worker.open_radiograph = open_or_fail
reading_worker.serve()
"""


def archived(name, data):
    return SourceFile(name, load=lambda: ArchivedFile(name, data, None))


def read(files, **options):
    with Readers(count=2, **options) as readers:
        return {file.name: reading for file, reading in readers.read(iter(files), ahead=2)}


@pytest.fixture
def program(tmp_path):
    return PROGRAM.format(done=str(tmp_path / "done"))


def test_files_are_hashed_and_prepared(tmp_path, image_png):
    (tmp_path / "a.png").write_bytes(image_png(1, height=300, width=200))
    files = [
        SourceFile("a", str(tmp_path / "a.png")),
        archived("b", image_png(1, height=300, width=200)),
        SourceFile("c", str(tmp_path / "absent.png")),
        SourceFile("d", str(tmp_path)),
        SourceFile("e", problem="This folder cannot be opened."),
    ]
    found = read(files, side=100)
    assert found["a"].prepared.image.shape == (224, 224, 1)
    assert found["a"].picture.shape == (100, 67)
    assert found["a"].sha256 == found["b"].sha256 != ""
    assert (found["a"].picture == found["b"].picture).all()
    assert found["c"].prepared == "There is no file at this path."
    assert "cannot be opened" in found["d"].prepared
    assert found["e"].prepared == "This folder cannot be opened."
    assert found["c"].sha256 == found["d"].sha256 == found["e"].sha256 == ""


def test_a_file_system_is_read_by_url(tmp_path, image_png):
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    (tmp_path / "a.png").write_bytes(image_png(1))
    files = [
        SourceFile("a", f"file://{tmp_path}/a.png"),
        SourceFile("b", f"file://{tmp_path}/absent.png"),
        SourceFile("c", "nothing-of-the-kind://bucket/x.png"),
    ]
    found = read(files)
    assert found["a"].prepared.image.shape == (224, 224, 1)
    assert found["b"].prepared == "There is no file at this path."
    assert "cannot be opened" in found["c"].prepared


def test_a_file_that_crashes_its_decoder_costs_no_other_file(program, image_png):
    good = image_png(1)
    files = [archived(str(i), b"crash" if i in (2, 5) else good) for i in range(8)]
    found = read(files, program=program)
    assert {name for name, reading in found.items() if reading.prepared == CRASHED} == {"2", "5"}
    assert sum(not isinstance(reading.prepared, str) for reading in found.values()) == 6


def test_a_process_that_is_ended_from_outside_costs_no_file(program):
    found = read([archived("once", b"once")], program=program)
    assert found["once"].prepared != CRASHED  # it is no image, which is another reason
    assert found["once"].sha256 != ""


def test_a_file_that_does_not_arrive_is_given_up(image_png):
    """A process that waits for a file system does not answer, as one that is stopped."""
    with Readers(count=1, timeout=10) as readers:

        def files():
            yield archived("first", image_png(1))
            (process,) = readers._processes
            os.kill(process._process.pid, signal.SIGSTOP)
            yield archived("second", image_png(2))
            yield archived("third", image_png(3))

        found = {file.name: reading for file, reading in readers.read(files(), ahead=2)}
    assert "could not be read within 10 seconds" in found["second"].prepared
    assert found["third"].prepared.image.shape == (224, 224, 1)


def test_a_program_that_cannot_start_is_an_error_and_no_reason_of_a_file(image_png):
    with pytest.raises(XrayError, match="cannot be started"):
        read([archived("a", image_png(1))], program="import absent_module")


def test_an_error_of_the_source_comes_after_the_files_before(image_png):
    def files():
        yield archived("a", image_png(1))
        yield archived("b", image_png(2))
        raise XrayError("The archive is damaged.")

    with Readers(count=2) as readers:
        found = readers.read(files(), ahead=2)
        assert sorted(next(found)[0].name for _ in range(2)) == ["a", "b"]
        with pytest.raises(XrayError, match="archive is damaged"):
            next(found)


def test_no_more_files_are_read_ahead_than_asked_for(image_png):
    taken = []
    few = threading.Event()

    def files():
        for i in range(100):
            taken.append(i)
            if len(taken) > 6:
                few.set()
            yield archived(str(i), image_png(1))

    with Readers(count=2) as readers:
        found = readers.read(files(), ahead=3)
        next(found)
        # One was taken out, three wait, and each of two processes holds one.
        assert not few.wait(1)
        found.close()


def test_processes_end_with_their_readers(image_png):
    with Readers(count=2) as readers:
        list(readers.read(iter([archived(str(i), image_png(i)) for i in range(9)]), ahead=2))
        processes = [reader._process for reader in readers._processes]
    assert all(process.poll() is not None for process in processes if process is not None)
