"""Whether the undocumented parts of Streamlit and Starlette that the app uses still exist.

Each test names the part of `ui/common/streamlit_internals.py` to check after a new version.
"""

import asyncio
import gc
import inspect
import time
import tomllib
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from page_tools import ROOT
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.runtime import Runtime, RuntimeConfig, SessionClient
from streamlit.runtime.memory_media_file_storage import MemoryMediaFileStorage
from streamlit.runtime.memory_session_storage import MemorySessionStorage
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec
from streamlit.testing.v1 import AppTest

from ui.common import streamlit_internals as internals

PATIENCE = 60  # seconds for what should be there at once: a busy machine is no failure
LOST = "Streamlit has changed: see ui/common/streamlit_internals.py, "


def parsed_upload(size: int) -> object:
    """The file in which Starlette holds an upload of `size` bytes."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="a"; filename="a.dcm"\r\n\r\n'
        + size * b"x"
        + b"\r\n--x--\r\n"
    )

    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 2**16):
            yield body[start : start + 2**16]

    headers = Headers({"content-type": "multipart/form-data; boundary=x"})
    return asyncio.run(MultiPartParser(headers, stream()).parse())["a"].file


def test_an_upload_stays_in_memory(monkeypatch):
    monkeypatch.setattr(MultiPartParser, "spool_max_size", 2**20)
    with parsed_upload(3 * 2**20) as spooled:
        assert spooled._rolled, (
            "Starlette no longer writes large uploads to a file by itself: see "
            "ui/common/streamlit_internals.py, keep_uploads_in_memory, which may then go"
        )

    internals.keep_uploads_in_memory()
    with parsed_upload(3 * 2**20) as held:
        assert not held._rolled, (
            "Starlette has changed: see ui/common/streamlit_internals.py, keep_uploads_in_memory; "
            "uploads are written to a temporary file"
        )


def test_the_server_still_parses_uploads_with_starlette():
    from streamlit.web.server.starlette import starlette_routes

    source = inspect.getsource(starlette_routes)
    assert "limited_request.form()" in source, f"{LOST}keep_uploads_in_memory"
    assert (
        "upload_mgr.add_file(\n            session_id=session_id,\n            file=" in source
    ), f"{LOST}bound_uploads: the server hands over uploads in another way"


def test_the_store_of_uploads_is_bounded_and_emptied():
    script = """
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFileRec
from streamlit.runtime.scriptrunner import get_script_run_ctx
from ui.common import streamlit_internals as internals

context = get_script_run_ctx()
store, session = context.uploaded_file_mgr, context.session_id
internals.bound_uploads(lambda files, size, more: size + more <= 100)
for number, size in enumerate((60, 60, 30)):
    record = UploadedFileRec(str(number), "a.png", "image/png", b"x" * size)
    store.add_file(session_id=session, file=record)
files = store.get_files(session_id=session, file_ids=["0", "1", "2"])
st.text(str([(len(file.data), file.type) for file in files]))
internals.remove_uploads(files)
st.text(str(len(store.get_files(session_id=session, file_ids=["0", "1", "2"]))))
"""
    at = AppTest.from_string(script, default_timeout=PATIENCE).run()

    assert not at.exception, f"{LOST}bound_uploads and remove_uploads: {at.exception[0].value}"
    held, left = (element.value for element in at.text)
    assert held == str([(60, "image/png"), (0, internals.DISCARDED), (30, "image/png")]), (
        f"{LOST}bound_uploads"
    )
    assert left == "0", f"{LOST}remove_uploads"


class Client(SessionClient):
    """A browser's end of a connection."""

    def __init__(self) -> None:
        self.finished = 0

    def write_forward_msg(self, msg: object) -> None:
        self.finished += msg.WhichOneof("type") == "script_finished"

    @property
    def client_ip(self) -> str | None:
        return None


class Image:
    """An uploaded file in the session state of a visitor."""


HELD: list[weakref.ref] = []


def hold_an_image(watched: bool) -> None:
    """The script of the visited page."""
    import streamlit as st

    if watched:
        internals.end_session_when_tab_closes()
    if "image" not in st.session_state:
        st.session_state["image"] = Image()
        HELD.append(weakref.ref(st.session_state["image"]))
    image = st.session_state["image"]
    st.button("Show", on_click=print, args=(image,))
    st.file_uploader("Images", on_change=print, args=(image,))

    @st.fragment
    def shown() -> None:
        st.text(str(image))

    shown()


@pytest.fixture
def visited(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Run `act(runtime, client, session)` in Streamlit's own runtime, after one visit of a page.

    The page holds an image in its session state, and `watched` says whether it calls
    `end_session_when_tab_closes`.
    """
    HELD.clear()
    script = tmp_path / "page.py"

    async def run(act: Callable, watched: bool, seconds: int) -> None:
        script.write_text(
            f"import sys\nsys.modules[{__name__!r}].hold_an_image({watched})\n", encoding="utf-8"
        )
        runtime = Runtime(
            RuntimeConfig(
                script_path=str(script),
                media_file_storage=MemoryMediaFileStorage("/media"),
                uploaded_file_manager=MemoryUploadedFileManager("/upload"),
                session_storage=MemorySessionStorage(ttl_seconds=seconds),
            )
        )
        await runtime.start()
        try:
            client = Client()
            session = runtime.connect_session(client, user_info={})
            await rerun(runtime, client, session)
            assert HELD[0]() is not None
            await act(runtime, client, session)
        finally:
            runtime.stop()
            await runtime.stopped

    yield lambda act, *, watched, seconds: asyncio.run(run(act, watched, seconds))
    Runtime._instance = None


async def rerun(runtime: Runtime, client: Client, session: str) -> None:
    message, before = BackMsg(), client.finished
    message.rerun_script.query_string = ""
    runtime.handle_backmsg(session, message)
    assert await happens(lambda: client.finished > before), "the page did not run"


async def happens(what: Callable[[], bool]) -> bool:
    """Tell whether something happens within PATIENCE seconds."""
    end = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.02)
    return True


def is_gone() -> bool:
    gc.collect()
    return HELD[0]() is None


def test_a_closed_tab_ends_its_session_and_frees_its_memory(visited, monkeypatch):
    monkeypatch.setattr(internals, "CLOSED_TAB_SECONDS", 0)

    async def close(runtime: Runtime, client: Client, session: str) -> None:
        record = UploadedFileRec("1", "a.png", "image/png", b"x")
        runtime.uploaded_file_mgr.add_file(session, record)
        runtime.disconnect_session(session)
        assert await happens(is_gone), f"{LOST}end_session_when_tab_closes: images stay"
        assert runtime.uploaded_file_mgr.get_files(session, ["1"]) == []

    visited(close, watched=True, seconds=60)


def test_a_visitor_who_returns_in_time_keeps_the_session(visited, monkeypatch):
    monkeypatch.setattr(internals, "CLOSED_TAB_SECONDS", 0)

    async def come_back(runtime: Runtime, client: Client, session: str) -> None:
        runtime.disconnect_session(session)
        again = Client()
        assert runtime.connect_session(again, {}, existing_session_id=session) == session
        for _ in range(3):
            await asyncio.sleep(0.01)  # what was to happen after 0 seconds has happened
        await rerun(runtime, again, session)
        assert HELD[0]() is not None
        assert len(HELD) == 1

        runtime.disconnect_session(session)
        assert await happens(is_gone), f"{LOST}end_session_when_tab_closes: a second leave"

    visited(come_back, watched=True, seconds=60)


def test_streamlit_alone_keeps_an_expired_session(visited):
    async def close(runtime: Runtime, client: Client, session: str) -> None:
        runtime.disconnect_session(session)
        await asyncio.sleep(2)
        assert not is_gone(), (
            "Streamlit now lets go of expired sessions: see ui/common/streamlit_internals.py, "
            "end_session_when_tab_closes, which may then go"
        )

    visited(close, watched=False, seconds=1)


@pytest.mark.parametrize(("option", "expected"), [(60, 30), (120, 30), (20, 19), (1, 0), (0, 0)])
def test_a_session_ends_before_streamlit_marks_it_as_expired(monkeypatch, option, expected):
    monkeypatch.setattr(internals.st, "get_option", {"server.disconnectedSessionTTL": option}.get)

    assert internals.closed_tab_seconds() == expected


def test_the_page_states_how_long_images_are_kept(open_page, with_model):
    at = open_page("prediction")

    texts = [caption.value.replace("\n", " ") for caption in at.caption]
    assert any("or until 30 seconds after you close the page" in text for text in texts)
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())
    assert config["server"]["disconnectedSessionTTL"] > internals.CLOSED_TAB_SECONDS


def test_no_other_module_reaches_into_streamlit():
    documented = ("streamlit.delta_generator", "streamlit.navigation.page")
    typed = ("streamlit.runtime.uploaded_file_manager import UploadedFile\n",)
    for path in [*ROOT.glob("ui/*.py"), *ROOT.glob("pages/*.py"), ROOT / "app.py"]:
        if path.name == "streamlit_internals.py":
            continue
        text = path.read_text(encoding="utf-8")
        for allowed in (*documented, *typed):
            text = text.replace(f"from {allowed}", "")
        assert "from streamlit." not in text, path.name
        if path.name not in ("app.py", "server.py"):  # documented ASGI classes alone
            assert "starlette" not in text, path.name
        assert "get_script_run_ctx" not in text, path.name
