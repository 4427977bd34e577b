"""Running a network with TensorFlow or OpenVINO, on batches of any size, from several threads.

Both engines compute in single precision and give the same outputs, up to rounding; the results of
an image do not depend on the engine. OpenVINO builds its graph from the weights of the bundle
(`openvino_network`) in less time than a cached copy would take to check, so none is kept.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from xray_core.errors import MissingPackage

if TYPE_CHECKING:
    import keras

FloatArray = NDArray[np.float32]
Outputs = list[FloatArray]
Forward = Callable[[FloatArray], Outputs]
"""Inputs (N, H, W, C) float32 -> the outputs of a network, each with N as its first dimension."""

Engine = Literal["tensorflow", "openvino"]
ENGINES = ("auto", "tensorflow", "openvino")

NO_OPENVINO = (
    "The engine openvino needs the package OpenVINO, which is not installed or cannot run on this "
    "machine. Install it with `pip install openvino`, or choose the engine tensorflow."
)


def choose_engine(name: str = "auto") -> Engine:
    """Return the engine that a name stands for: "auto" is OpenVINO where it can be imported.

    Parameters
    ----------
    name : str
        One of `ENGINES`.

    Raises
    ------
    ValueError
        The name is unknown.
    MissingPackage
        OpenVINO is requested by name and cannot be imported.
    """
    if name not in ENGINES:
        raise ValueError(f"The engines are {', '.join(ENGINES)}. Received: {name!r}")
    if name == "tensorflow":
        return "tensorflow"
    try:
        import_openvino()
    except (ImportError, OSError) as error:  # OSError: a library of the system is missing
        if name == "auto":
            return "tensorflow"
        raise MissingPackage(NO_OPENVINO) from error
    return "openvino"


def import_openvino() -> Any:
    """Import the package OpenVINO without its telemetry, and return it.

    Otherwise every import would send an event to its makers, and write to the user's home. OpenVINO
    runs without telemetry where the package `openvino_telemetry` cannot be imported, and all of
    this project imports OpenVINO here.

    Raises
    ------
    ImportError, OSError
        It is not installed, or a library that it needs is missing.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_module("openvino")


def product(rows: FloatArray, matrix: FloatArray) -> FloatArray:
    """Return the product of matrices (N, D) and (D, K), on one thread.

    The products beside the networks take a fraction of a millisecond for an image. Shared among the
    threads of BLAS they take as long as the busiest core keeps one of these threads waiting, which
    is often many milliseconds, since the threads of the engine want the same cores.
    """
    return np.einsum("nd,dk->nk", rows, matrix)


def trace(network: keras.Model) -> Forward:
    """Return a network as a function of its inputs, run by TensorFlow.

    It is traced once for batches of any size: calling a Keras model runs layer by layer, at a third
    of the speed, and `Model.predict` has a larger overhead than the network for a single image.
    Tracing here rather than on first use keeps threads from tracing at the same time.

    Parameters
    ----------
    network : keras.Model
        One input and one or several outputs.

    Returns
    -------
    callable
        Inputs (N, H, W, C) float32 -> the outputs in a list, each with N as its first dimension.
    """
    import tensorflow as tf

    signature = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)
    # Without autograph, which would write generated code to the temporary folder.
    forward = tf.function(
        lambda images: tf.nest.flatten(network(images, training=False)), autograph=False
    )
    traced = forward.get_concrete_function(signature)
    return lambda images: [output.numpy() for output in traced(tf.constant(images))]


def compile_graph(graph: Any) -> Forward:
    """Return an OpenVINO model as a function of its inputs, run on the processor.

    A single image is computed by all cores together. The images of a batch are computed side by
    side, one on each group of cores, which takes less time than one pass over the batch.

    Single precision is requested, since OpenVINO takes bfloat16 by itself where the processor has
    it, which changes logits by some hundredths. It uses as many threads as the environment variable
    OMP_NUM_THREADS allows, and all cores without it.

    Parameters
    ----------
    graph : openvino.Model
        As `openvino_network.build_graph` returns it.

    Returns
    -------
    callable
        As for `trace`.
    """
    together = _requests(_compile(graph, "LATENCY"))
    side_by_side: list[Forward] = []  # compiled with the first batch: a page needs none
    compiling = Lock()

    def forward(images: FloatArray) -> Outputs:
        images = np.ascontiguousarray(images, dtype=np.float32)
        if len(images) == 1:
            return together(images)
        with compiling:
            if not side_by_side:
                side_by_side.append(_side_by_side(_compile(graph, "THROUGHPUT")))
        return side_by_side[0](images)

    return forward


def _compile(graph: Any, hint: str) -> Any:
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": hint}
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdecimal() and int(threads):  # OpenVINO itself does not read it
        settings["INFERENCE_NUM_THREADS"] = int(threads)
        # Else the threads of every process would be bound to the same cores, the first ones.
        settings["ENABLE_CPU_PINNING"] = False
    return import_openvino().Core().compile_model(graph, "CPU", settings)


def _requests(compiled: Any) -> Forward:
    # A request runs one input at a time: as many are kept as threads have called at once.
    idle: SimpleQueue[Any] = SimpleQueue()

    def forward(images: FloatArray) -> Outputs:
        try:
            request = idle.get_nowait()
        except Empty:
            request = compiled.create_infer_request()
        try:
            request.infer([images])
            # Copies: the next input overwrites the memory of the request.
            return [np.array(tensor.data) for tensor in request.output_tensors]
        finally:
            idle.put(request)

    return forward


def _side_by_side(compiled: Any) -> Forward:
    one = _requests(compiled)
    threads = ThreadPoolExecutor(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))

    def forward(images: FloatArray) -> Outputs:
        rows = threads.map(one, np.split(images, len(images)))
        return [np.concatenate(outputs) for outputs in zip(*rows, strict=True)]

    return forward
