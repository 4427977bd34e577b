"""Memory of the server: what the garbage collector looks at, and what the allocator keeps.

A server runs for weeks, and every visitor brings images of some megabytes that are freed again.
"""

import ctypes
import gc
import platform

import streamlit as st

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h
_LARGE = 2**20
_ARENAS = 2


def bound_allocator() -> None:
    """Have the C library return large blocks to the system as soon as they are freed.

    By default glibc keeps up to 32 MB at a time for later use, in as many as eight arenas a core,
    and each thread that analyses an image leaves such a rest. Does nothing with other C libraries.
    """
    if _is_glibc():
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_M_ARENA_MAX, _ARENAS)


def collect_garbage() -> None:
    """Free all unreachable objects, and exempt the others from collections until the next call.

    Streamlit runs a full collection after each run of a page. With the libraries and models of this
    app that takes a tenth of a second or more, in which no visitor is served, unless these objects
    are exempt. Reference counts free most objects without any collection.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    if _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


@st.cache_resource(max_entries=1, show_spinner=False)
def exempt_libraries(tensorflow: bool) -> None:
    """Exempt the libraries from collections, once, and again when TensorFlow was loaded.

    It is loaded when the first visitor asks for a map that needs it, and has as many objects as all
    other libraries together.
    """
    collect_garbage()
