"""What only looks at tables does not pay for TensorFlow, and the core does not know Streamlit."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def loaded(code: str) -> set[str]:
    """Top-level modules that a fresh process has loaded after running `code`."""
    script = f"{code}\nimport sys\nprint(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import xray_core",
        "import xray_core.dataset, xray_core.dataset.index, xray_core.dataset.audit",
        "import xray_core.evaluation, xray_core.evaluation.tables, xray_core.evaluation.figures",
        "from xray_core import open_bundle, list_bundles, read_radiograph, to_model_input",
        "import train",
    ],
)
def test_no_tensorflow_is_loaded(code: str) -> None:
    modules = loaded(code)
    assert "xray_core" in modules
    assert not modules & {"tensorflow", "keras", "tf_keras_vis", "streamlit"}


@pytest.mark.parametrize("page", ["dataset", "evaluation", "training"])
def test_pages_about_tables_load_no_tensorflow(page: str) -> None:
    code = (
        "from streamlit.testing.v1 import AppTest\n"
        f"at = AppTest.from_file('pages/{page}.py', default_timeout=60).run()\n"
        "assert not at.exception, at.exception"
    )
    assert not loaded(code) & {"tensorflow", "keras", "tf_keras_vis"}


def test_the_core_does_not_import_streamlit() -> None:
    for path in (REPOSITORY / "xray_core").rglob("*.py"):
        assert "import streamlit" not in path.read_text(), path


def test_public_names_are_there() -> None:
    import xray_core

    for name in xray_core.__all__:
        assert getattr(xray_core, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = xray_core.nothing
