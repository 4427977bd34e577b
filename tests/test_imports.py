"""Imports point down between the layers, and heavy packages load only where they are needed.

The floors, from the lowest: `errors`, `labels`, `spreadsheet`; `imaging` and `stats`; `model`;
the jobs `dataset`, `training`, `prediction`, `evaluation` and `pacs`; `scale`, `cli`, `train.py`
and `ui`; `pages` and `app.py`.
"""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
JOBS = ("dataset", "training", "prediction", "evaluation", "pacs")
FLOORS = {
    **{f"xray_core.{name}": 0 for name in ("errors", "labels", "spreadsheet", "places")},
    **dict.fromkeys(("xray_core.command_line", "xray_core.ray_cluster"), 1),
    **dict.fromkeys(("xray_core.imaging", "xray_core.stats"), 1),
    "xray_core.model": 2,
    **{f"xray_core.{job}": 3 for job in JOBS},
    "xray_core": 4,  # the package itself: the public names, loaded on first use
    **dict.fromkeys(("xray_core.scale", "xray_core.cli", "train", "ui"), 5),
    **dict.fromkeys(("xray_core.__main__", "pages", "app"), 6),
}
# The imports between jobs that are allowed: training writes what evaluation and prediction read,
# and a PACS gives prediction its images and takes its results.
FROM_TRAINING = (
    "command",
    "cross_validation",
    "external",
    "finish",
    "results",
    "card",
    "card_external",
    "segmentation_results",
)
TENSORFLOW = {"tensorflow", "keras", "tf_keras_vis"}
DICOM = {"pydicom", "gdcm"}


def module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def python_files() -> list[Path]:
    folders = [REPOSITORY / name for name in ("xray_core", "ui", "pages")]
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return [*files, REPOSITORY / "app.py", REPOSITORY / "train.py"]


def imported_names(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """Yield the possible module names of each import that runs, also within functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name,) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "Imports are absolute."
            assert node.level == 0, "Imports are absolute."
            yield from ((f"{node.module}.{alias.name}", node.module) for alias in node.names)
        yield from imported_names(node)


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    """Return the modules of the project that each of its modules imports."""
    files = {module_name(path): path for path in python_files()}
    return {
        name: {
            module
            for names in imported_names(ast.parse(path.read_text(encoding="utf-8")))
            if (module := next((one for one in names if one in files), None))
        }
        for name, path in files.items()
    }


def floor(module: str) -> int:
    parts = module.split(".")
    key = ".".join(parts[:2]) if parts[0] == "xray_core" else parts[0]
    return FLOORS[key]


def job(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "xray_core" and len(parts) > 1 and parts[1] in JOBS else None


def test_imports_have_no_circle(graph: dict[str, set[str]]) -> None:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_no_import_points_up(graph: dict[str, set[str]]) -> None:
    upward = [
        f"{module} -> {imported}"
        for module, imports in graph.items()
        for imported in imports
        if floor(imported) > floor(module)
    ]
    assert upward == []


def test_pages_find_the_dataset_through_the_rule_of_a_public_host() -> None:
    readers = [
        module_name(path)
        for path in python_files()
        if module_name(path).split(".")[0] in ("ui", "pages", "app")
        for names in imported_names(ast.parse(path.read_text(encoding="utf-8")))
        if "xray_core.dataset.index.find_dataset" in names
    ]
    assert readers == ["ui.common.folders"]


def test_jobs_do_not_import_each_other(graph: dict[str, set[str]]) -> None:
    def is_allowed(module: str, imported: str) -> bool:
        if job(module) == "pacs":
            return job(imported) == "prediction"
        if job(module) != "training":
            return False
        return job(imported) == "dataset" or module.split(".")[2] in FROM_TRAINING

    between = [
        f"{module} -> {imported}"
        for module, imports in graph.items()
        for imported in imports
        if job(module) and job(imported) and job(module) != job(imported)
        if not is_allowed(module, imported)
    ]
    assert between == []


def test_the_core_does_not_import_streamlit_or_the_pages() -> None:
    for path in (REPOSITORY / "xray_core").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        roots = {names[0].split(".")[0] for names in imported_names(tree)}
        assert not roots & {"streamlit", "ui", "pages", "app", "train"}, path


def loaded(code: str) -> set[str]:
    """Return the top-level modules that a new process has loaded after running `code`."""
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
        "import xray_core.imaging.checks, xray_core.imaging.border",
        "import train",
        "import xray_core.cli, xray_core.pacs.settings, xray_core.pacs.command",
    ],
)
def test_no_tensorflow_is_loaded(code: str) -> None:
    modules = loaded(code)
    assert "xray_core" in modules
    assert not modules & (TENSORFLOW | DICOM | {"streamlit"})


def test_reading_a_png_loads_neither_pydicom_nor_tensorflow() -> None:
    code = (
        "import io\n"
        "from PIL import Image\n"
        "from xray_core import read_radiograph\n"
        "buffer = io.BytesIO()\n"
        "Image.new('L', (9, 9)).save(buffer, 'PNG')\n"
        "read_radiograph(buffer.getvalue())"
    )
    assert not loaded(code) & (DICOM | TENSORFLOW | {"streamlit"})
    assert "pydicom" in loaded("import xray_core.imaging.dicom.read")


@pytest.mark.parametrize("page", ["dataset", "evaluation", "training"])
def test_pages_about_tables_load_no_tensorflow(page: str) -> None:
    code = (
        "from streamlit.testing.v1 import AppTest\n"
        f"at = AppTest.from_file('pages/{page}.py', default_timeout=60).run()\n"
        "assert not at.exception, at.exception"
    )
    assert not loaded(code) & TENSORFLOW


def test_only_pacs_needs_dicomweb_and_highdicom() -> None:
    """They are optional: `requirements-pacs.txt` and not `requirements.txt` lists them."""
    optional = {"dicomweb_client", "highdicom"}
    users = {
        path.parent.name
        for path in python_files()
        for names in imported_names(ast.parse(path.read_text(encoding="utf-8")))
        if names[0].split(".")[0] in optional
    }
    assert users == {"pacs"}
    assert not loaded("import xray_core.cli, xray_core.pacs.command") & optional


def test_ray_and_fsspec_load_only_where_they_are_used() -> None:
    """They are optional: `requirements-ray.txt` and not `requirements.txt` lists them."""
    users = {
        path.stem
        for path in python_files()
        for names in imported_names(ast.parse(path.read_text(encoding="utf-8")))
        if names[0].split(".")[0] in {"ray", "fsspec"}
    }
    assert users == {"ray_cluster", "sources", "reading_worker"}
    code = (
        "import xray_core.cli, xray_core.scale.ray_screen, xray_core.prediction.screen\n"
        "import xray_core.prediction.reading_worker"
    )
    assert not loaded(code) & ({"ray", "fsspec", "pyarrow"} | TENSORFLOW)
    assert not loaded("import xray_core.training.cross_validation") & ({"ray"} | TENSORFLOW)


@pytest.mark.parametrize("module", ["client", "results"])
def test_absent_pacs_packages_are_one_sentence(module: str) -> None:
    code = (
        "import sys\n"
        "sys.modules['dicomweb_client'] = sys.modules['highdicom'] = None\n"
        "from xray_core.errors import PacsError\n"
        "try:\n"
        f"    import xray_core.pacs.{module}\n"
        "except PacsError as error:\n"
        "    assert str(error).endswith('python -m pip install -r requirements-pacs.txt'), error\n"
        "else:\n"
        "    raise AssertionError"
    )
    assert "highdicom" in loaded(code)


def test_public_names_can_be_imported() -> None:
    import xray_core

    for name in xray_core.__all__:
        assert getattr(xray_core, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = xray_core.nothing
