"""Watching: each image analysed once and each result stored once, whatever happens to a watcher."""

import hashlib
import io
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from pacs_tools import IDENTITY, Orthanc, settings_of

import xray_core.pacs.state as state_module
from xray_core.errors import PacsError
from xray_core.model.bundle import open_bundle
from xray_core.pacs.client import PacsClient
from xray_core.pacs.state import MAX_CRASHES, WatchState
from xray_core.pacs.watch import Watcher

REPOSITORY = Path(__file__).parents[2]
ROOT = "1.2.826.0.1.3680043.8.498."


@pytest.fixture
def clock(monkeypatch):
    """The time of the state, as a list with one number."""
    now = [1_000_000.0]
    monkeypatch.setattr(state_module.time, "time", lambda: now[0])
    return now


@pytest.fixture
def open_state(tmp_path):
    """`open_state()`: the state of another watcher on the same file."""
    opened = []

    def open_one(lease=100.0):
        opened.append(WatchState(tmp_path / "state" / "watch.sqlite", lease))
        return opened[-1]

    yield open_one
    for state in opened:
        state.close()


def test_of_two_watchers_one_gets_the_claim(open_state):
    first, second = open_state(), open_state()
    assert first.claim("image", store=True)
    assert not second.claim("image", store=True)
    assert not first.claim("image", store=True)
    assert second.claim("another image", store=True)


def test_a_claim_ends_with_its_lease_and_the_late_watcher_cannot_finish(open_state, clock):
    killed, next_one = open_state(), open_state()
    assert killed.claim("image", store=True)
    clock[0] += 99
    assert not next_one.claim("image", store=True)
    assert killed.renew("image")
    clock[0] += 99
    assert not next_one.claim("image", store=True)
    clock[0] += 2
    assert next_one.claim("image", store=True)
    assert not killed.renew("image")
    killed.finish("image", stored=True)
    assert not next_one.is_done("image", store=True)
    next_one.finish("image", stored=True)
    assert next_one.is_done("image", store=True)
    clock[0] += 10_000
    assert not killed.claim("image", store=True)


def test_an_image_that_was_not_stored_is_claimed_again_when_storing_is_allowed(open_state):
    state = open_state()
    assert state.claim("image", store=False)
    state.finish("image", stored=False)
    assert not state.claim("image", store=False)
    assert state.is_done("image", store=False)
    assert not state.is_done("image", store=True)
    assert state.claim("image", store=True)


def test_a_failed_image_is_free_again_after_pauses_that_grow(open_state, clock):
    state = open_state()
    pauses = []
    for _ in range(8):
        assert state.claim("image", store=True)
        state.fail("image")
        start = clock[0]
        while not state.claim("image", store=True):
            clock[0] += 30
        state.fail("image")
        pauses.append(clock[0] - start)
        clock[0] += 100_000
    assert pauses == sorted(pauses)
    assert pauses[0] == pytest.approx(60, abs=31)
    assert pauses[-1] == pytest.approx(3600, abs=31)


def test_an_image_that_ends_every_watcher_is_given_up(open_state, clock):
    claims = 0
    while open_state().claim("image", store=True):
        claims += 1
        clock[0] += 101
    assert claims == MAX_CRASHES
    assert open_state().is_done("image", store=True)


def test_a_study_is_complete_until_it_has_more_objects(open_state):
    state = open_state()
    assert not state.is_complete("study", 2, store=False)
    state.complete("study", 2, stored=False)
    assert state.is_complete("study", 2, store=False)
    assert not state.is_complete("study", 2, store=True)
    assert not state.is_complete("study", 3, store=False)


def test_the_files_of_the_state_hold_no_uid_and_are_the_owners(open_state, tmp_path):
    state = open_state()
    uid = f"{ROOT}1.1.1"
    assert state.claim(uid, store=True)
    state.complete(f"{ROOT}1", 1, stored=True)
    state.close()
    files = sorted((tmp_path / "state").iterdir())
    assert {"watch.sqlite", "watch.sqlite.key"} <= {file.name for file in files}
    for file in files:
        assert ROOT.encode() not in file.read_bytes()
        if os.name == "posix":
            assert file.stat().st_mode & 0o077 == 0
    # Without the key nobody can tell whether a UID is in the database.
    assert (
        hashlib.sha256(uid.encode()).digest() not in (tmp_path / "state/watch.sqlite").read_bytes()
    )


@pytest.mark.parametrize("content", [b"", b"no database" * 1000])
def test_a_state_that_cannot_be_opened_is_one_sentence(tmp_path, content):
    file = tmp_path / "watch.sqlite"
    file.write_bytes(content)
    file.with_name("watch.sqlite.key").write_bytes(b"short")
    message = (
        r"state of the watcher cannot be opened: .*watch.sqlite. The file or its key is damaged"
    )
    with pytest.raises(PacsError, match=message):
        WatchState(file, 100)


def test_a_damaged_database_with_a_valid_key_is_one_sentence(tmp_path):
    file = tmp_path / "watch.sqlite"
    file.write_bytes(b"no database" * 1000)
    message = r"The file or its key is damaged, or is not a watcher's database\."
    with pytest.raises(PacsError, match=message):
        WatchState(file, 100)


def test_a_state_where_nothing_can_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PacsError, match=r"cannot be opened: .*watch.sqlite: (Not a dir|File ex)"):
        WatchState(tmp_path / "file" / "watch.sqlite", 100)


@pytest.fixture
def state_without_tables(open_state, tmp_path):
    """A state whose tables another program has removed."""
    state = open_state()
    with closing(sqlite3.connect(tmp_path / "state" / "watch.sqlite")) as database:
        database.executescript("DROP TABLE images; DROP TABLE studies")
    return state


def test_a_state_that_cannot_be_read_or_written_is_one_sentence(state_without_tables):
    for read in (
        lambda: state_without_tables.is_done("image", store=True),
        lambda: state_without_tables.is_complete("study", 1, store=True),
        lambda: state_without_tables.claim("image", store=True),
    ):
        with pytest.raises(PacsError, match=r"^The state of the watcher cannot be read\.$"):
            read()
    with pytest.raises(PacsError, match=r"^The state of the watcher cannot be written\.$"):
        state_without_tables.complete("study", 1, stored=True)


def test_a_poll_whose_state_cannot_be_read_is_logged_and_repeated(
    state_without_tables, predictor, monkeypatch
):
    client = SimpleNamespace(
        server=SimpleNamespace(write=False), sizes=lambda query: ({"1.2.3": 1}, False)
    )
    lines = []
    watcher = Watcher(
        client, predictor.bundle, lambda: predictor, state_without_tables, log=lines.append
    )
    with pytest.raises(PacsError, match="cannot be read"):
        watcher.run(1, once=True)
    lines.clear()

    class Enough(Exception):
        pass

    def sleep(seconds):
        if len(lines) == 2:
            raise Enough

    monkeypatch.setattr("xray_core.pacs.watch.time", SimpleNamespace(sleep=sleep))
    with pytest.raises(Enough):
        watcher.run(1)
    assert [line[20:] for line in lines] == [
        f"The state of the watcher cannot be read. Next try in {pause} s." for pause in (2, 4)
    ]


class Processes:
    """Watchers as processes, with their common state and what they have begun."""

    def __init__(self, folder: Path, orthanc: Orthanc, bundle: Path) -> None:
        self.folder = folder
        self.begun_file = folder / "begun"
        server = asdict(settings_of(orthanc, write=True))
        self.settings = {
            "server": server,
            "bundle": str(bundle),
            "state": str(folder / "watch.sqlite"),
            "begun": str(self.begun_file),
            "lease": 1.0,
            "once": False,
        }
        self.running: list[subprocess.Popen[str]] = []

    def start(self, **changes: object) -> subprocess.Popen[str]:
        file = self.folder / f"settings-{len(self.running)}.json"
        file.write_text(json.dumps(self.settings | changes))
        output = (self.folder / f"output-{len(self.running)}.txt").open("w")
        process = subprocess.Popen(
            [sys.executable, REPOSITORY / "tests" / "pacs_watcher.py", file],
            stdout=output,
            stderr=output,
            text=True,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        )
        output.close()
        self.running.append(process)
        return process

    @property
    def begun(self) -> list[str]:
        return self.begun_file.read_text().split() if self.begun_file.exists() else []

    @property
    def output(self) -> str:
        return "".join(file.read_text() for file in sorted(self.folder.glob("output-*.txt")))

    def wait_until(self, condition, process: subprocess.Popen[str]) -> None:
        while not condition():
            assert process.poll() is None, self.output
            time.sleep(0.05)


@pytest.fixture
def processes(tmp_path, orthanc, micro_bundle):
    started = Processes(tmp_path, orthanc, micro_bundle)
    yield started
    for process in started.running:
        process.kill()
        process.wait()


def upload_studies(orthanc, make_image, studies: int, images: int) -> int:
    files = [
        make_image(
            str(study), number=number, pixels=np.full((64, 64), 10 * study + number, np.uint8)
        )
        for study in range(1, studies + 1)
        for number in range(1, images + 1)
    ]
    orthanc.upload(*files)
    return len(files)


def reports(orthanc) -> Counter[str]:
    """Count the reports by the image that they refer to."""
    found = Counter()
    for identifier in orthanc.get("/instances"):
        if orthanc.get(f"/instances/{identifier}/simplified-tags")["Modality"] == "SR":
            file = pydicom.dcmread(io.BytesIO(orthanc.get(f"/instances/{identifier}/file")))
            (study,) = file.CurrentRequestedProcedureEvidenceSequence
            found[
                study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
            ] += 1
    return found


def stored_instances(orthanc) -> int:
    """Return how often Orthanc accepted an instance that it did not have."""
    changes = orthanc.get("/changes?limit=100000")["Changes"]
    return sum(change["ChangeType"] == "NewInstance" for change in changes)


def test_a_watcher_that_is_killed_ten_times_leaves_nothing_out_and_repeats_nothing(
    processes, orthanc, make_image
):
    images = upload_studies(orthanc, make_image, studies=8, images=3)
    before = stored_instances(orthanc)
    kills = 10
    for _ in range(kills):
        seen = len(processes.begun)
        process = processes.start()
        processes.wait_until(lambda seen=seen: len(processes.begun) >= seen + 2, process)
        process.kill()
        process.wait()
    process = processes.start()
    # The last results are stored when the watcher has found nothing more to do.
    processes.wait_until(lambda: sum(reports(orthanc).values()) >= images, process)
    process.kill()
    process.wait()
    found = reports(orthanc)
    assert len(found) == images
    assert set(found.values()) == {1}
    # One report and one capture for each image, and none twice.
    assert stored_instances(orthanc) - before == 2 * images
    # An image is begun again only if the watcher was killed while it was analysed.
    assert len(set(processes.begun)) == images
    assert len(processes.begun) <= images + kills
    assert [secret for secret in (*IDENTITY, ROOT) if secret in processes.output] == []


def test_two_watchers_share_the_images(processes, orthanc, make_image):
    images = upload_studies(orthanc, make_image, studies=4, images=3)
    before = stored_instances(orthanc)
    both = [processes.start(once=True, lease=3600.0) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0], processes.output
    assert len(processes.begun) == len(set(processes.begun)) == images
    assert stored_instances(orthanc) - before == 2 * images


def test_watchers_with_states_of_their_own_store_each_result_once(processes, orthanc, make_image):
    images = upload_studies(orthanc, make_image, studies=2, images=2)
    before = stored_instances(orthanc)
    for name in ("first", "second"):
        process = processes.start(once=True, state=str(processes.folder / f"{name}.sqlite"))
        assert process.wait() == 0, processes.output
    assert len(processes.begun) == images  # the second finds the reports of the first
    assert stored_instances(orthanc) - before == 2 * images


@pytest.fixture
def make_watcher(orthanc, predictor, open_state):
    """`make_watcher(**settings)`: a watcher in this process, and the list of its lines."""

    def make(**settings):
        lines = []
        watcher = Watcher(
            PacsClient(settings_of(orthanc, **settings)),
            open_bundle(predictor.bundle.folder),
            lambda: predictor,
            open_state(),
            days=3650,
            log=lines.append,
        )
        return watcher, lines

    return make


def test_a_poll_counts_what_it_did_and_the_next_finds_nothing_new(
    make_watcher, orthanc, make_image
):
    orthanc.upload(
        make_image("1", number=1, seed=1001, pneumonia=True),
        make_image("1", number=2, ViewPosition="LL"),
        make_image("2", BodyPartExamined="HAND"),
        make_image("3", Modality="CT"),
    )
    watcher, lines = make_watcher(write=True)
    assert watcher.count_waiting().waiting == 3
    counts = watcher.run(1, once=True)
    assert (counts.studies, counts.analysed, counts.skipped, counts.stored) == (2, 1, 2, 2)
    again = watcher.run(1, once=True)
    assert (again.analysed, again.skipped, again.stored, again.waiting) == (0, 0, 0, 0)
    assert watcher.count_waiting().waiting == 0
    assert lines[0][20:] == (
        "2 studies searched, 1 images analysed, 2 images skipped, 0 images unreadable, "
        "0 images not analysed yet, 0 images failed, 2 results stored"
    )
    assert [s for s in (*IDENTITY, ROOT) if s in "".join(lines)] == []


def test_images_that_cannot_be_written_as_dicom_are_counted_and_not_tried_again(
    make_watcher, orthanc, make_image, refuse_results
):
    orthanc.upload(*(make_image(number=number) for number in (1, 2, 3, 4)))
    refuse_results("")
    watcher, _ = make_watcher(write=True)
    counts = watcher.run(1, once=True)
    assert (counts.failed, counts.analysed, counts.waiting) == (4, 0, 0)
    again = watcher.run(1, once=True)
    assert (again.failed, again.analysed, again.waiting) == (0, 0, 0)


def test_an_image_that_arrives_later_is_analysed(make_watcher, orthanc, make_image):
    orthanc.upload(make_image("1", number=1))
    watcher, _ = make_watcher()
    assert watcher.run(1, once=True).analysed == 1
    orthanc.upload(make_image("1", number=2, seed=7))
    assert watcher.run(1, once=True).analysed == 1


def test_without_permission_nothing_is_stored_and_later_it_is(make_watcher, orthanc, make_image):
    orthanc.upload(make_image(seed=1001, pneumonia=True))
    watcher, _ = make_watcher(write=False)
    counts = watcher.run(1, once=True)
    assert (counts.analysed, counts.stored) == (1, 0)
    assert len(orthanc.get("/instances")) == 1
    watcher, _ = make_watcher(write=True)
    counts = watcher.run(1, once=True)
    assert (counts.analysed, counts.stored) == (1, 2)


def test_a_poll_that_fails_is_one_sentence_and_the_next_one_goes_on(
    make_watcher, make_orthanc, make_image, predictor, open_state, monkeypatch
):
    """The watcher sleeps once after the failure, and the server is back when it wakes."""
    orthanc = make_orthanc()
    orthanc.upload(make_image())
    orthanc.stop()
    lines, pauses = [], []
    watcher = Watcher(
        PacsClient(settings_of(orthanc)),
        predictor.bundle,
        lambda: predictor,
        open_state(),
        days=3650,
        log=lines.append,
    )

    class Enough(Exception):
        pass

    def sleep(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            orthanc.start()
        if len(pauses) == 5:
            raise Enough

    monkeypatch.setattr("xray_core.pacs.watch.time", SimpleNamespace(sleep=sleep))
    with pytest.raises(Enough):
        watcher.run(30)
    assert pauses[:3] == [60, 120, 240]
    assert pauses[-1] == 30
    assert all("cannot be reached" in line for line in lines[:3])
    assert "1 images analysed" in lines[3]
    assert len(lines) == 4
