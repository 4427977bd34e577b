"""The command line: `chest-xray COMMAND`, or `python -m xray_core COMMAND`."""

from __future__ import annotations

import argparse
import json
import os
import runpy
import sys
from pathlib import Path

from tqdm import tqdm

from xray_core.command_line import run_command
from xray_core.errors import XrayError
from xray_core.model.engine import ENGINES
from xray_core.pacs.command import add_commands as add_pacs_commands
from xray_core.places import MODELS, app_folder, folder_with_model


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the command line.

    Returns
    -------
    int
        The exit status: 0, 1 after an error (one sentence on standard error), 130 if interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["train"]:
        from xray_core.training.command import main as train

        return train(arguments[1:])
    options = _parser().parse_args(arguments)
    if "model" in options:
        options.models = folder_with_model(options.model, options.models)
    return run_command(
        lambda: options.run(options), interrupted="Run the same command again to resume."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chest-xray" if "chest-xray" in Path(sys.argv[0]).name else "python -m xray_core",
        description="Open the app, train a model, screen folders of chest X-rays, analyse studies "
        "of a PACS, evaluate and rebuild models, download the dataset.",
        epilog="example: chest-xray app",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    app = commands.add_parser(
        "app",
        help="open the app in the browser",
        description="Start the server of the app, and open it in the browser. Further settings "
        "are those of Streamlit, as environment variables (for example "
        "STREAMLIT_SERVER_HEADLESS=true). See docs/deploy.md.",
        epilog="example: chest-xray app --port 8502 --models models",
    )
    app.set_defaults(run=_app)
    app.add_argument("--port", type=int, default=8501, metavar="N", help="(default: 8501)")
    app.add_argument(
        "--address",
        default="localhost",
        metavar="ADDRESS",
        help="address on which the server listens (default: localhost)",
    )
    app.add_argument(
        "--name",
        metavar="HOST",
        help="host name under which visitors reach the server through a reverse proxy",
    )
    app.add_argument(
        "--models",
        type=Path,
        dest="app_models",
        metavar="DIR",
        help="folder of the models that the app offers (default: $XRAY_MODELS, then the shipped "
        "models)",
    )

    commands.add_parser("train", add_help=False, help="train a model; see `train --help`")

    screen = commands.add_parser(
        "screen",
        help="predict every image of a folder, a list or an archive",
        description="Predict every image of a folder, a glob, a list of paths, a ZIP or a tar, on "
        "this computer or on a file system such as s3://, and write one row per image. A stopped "
        "run resumes. See docs/scale.md.",
        epilog="examples: python -m xray_core screen radiographs --out results.csv; "
        "python -m xray_core screen list.parquet --out results.parquet --ray",
    )
    screen.set_defaults(run=_screen)
    screen.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder, a glob in quotes, a list of paths (.txt, or .parquet with the column "
        '"path"), a ZIP or a tar',
    )
    screen.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="TABLE",
        help="table to write: a .csv file, or a .parquet folder",
    )
    screen.add_argument(
        "--maps",
        type=Path,
        metavar="DIR",
        help="also store the Grad-CAM overlay of each image here, as AB/SHA256.jpg; images are "
        "then predicted one at a time",
    )
    screen.add_argument(
        "--timeout",
        type=_positive_seconds,
        default=60.0,
        metavar="SECONDS",
        help="seconds after which a file that has not arrived is recorded as unreadable "
        "(default: 60)",
    )
    screen.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="screen on Ray: the cluster at this address, or without one this computer alone",
    )
    _add_model_option(screen)
    screen.add_argument(
        "--engine",
        choices=ENGINES,
        metavar="NAME",
        help="what runs the networks: auto, tensorflow or openvino (default: auto)",
    )

    evaluate = commands.add_parser(
        "evaluate",
        help="print the metrics, each with its 95%% interval",
        description="Print the metrics of a model on a test set, each with its 95% interval.",
        epilog="example: python -m xray_core evaluate --model resnet50 --json metrics.json",
    )
    evaluate.set_defaults(run=_evaluate)
    _add_model_option(evaluate)
    evaluate.add_argument(
        "--data",
        metavar="DIR",
        help="predict the test split of this folder instead of using the stored predictions",
    )
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="also write all metrics here")

    finish = commands.add_parser(
        "finish",
        help="rebuild a bundle from its weights, without training",
        description="Rebuild a bundle from its weights, without training: calibration, input "
        "check, predictions, metrics, figures and model card; for a segmentation: limits of the "
        "lung fields, metrics and model card.",
        epilog="examples: python -m xray_core finish resnet50 --data data/chest_xray; "
        "python -m xray_core finish resnet50 --stored; "
        "python -m xray_core finish lungs --masks data/lung_masks",
    )
    finish.set_defaults(run=_finish)
    finish.add_argument("name", metavar="NAME", help="name of the bundle")
    finish.add_argument("--data", metavar="DIR", help="the dataset that it was trained on")
    finish.add_argument(
        "--lungs",
        metavar="NAME|none",
        help="for a classifier: the bundle beside it whose lung network is copied into it, for the "
        "input check and the crop to the lungs (default: lungs)",
    )
    finish.add_argument(
        "--skip-unreadable",
        action="store_true",
        help="leave out images that cannot be read, and record them in the bundle",
    )
    finish.add_argument(
        "--stored",
        action="store_true",
        help="rebuild only metrics, figures and card, from the stored predictions: no dataset, no "
        "TensorFlow, and no further use of the test set",
    )
    finish.add_argument(
        "--masks",
        metavar="DIR",
        help="lung masks, DIR/{train,val,test}/{NORMAL,PNEUMONIA}/STEM.png: for a segmentation "
        "those of its training; for a classifier they hide the lungs of test images, in place of "
        "the masks of its lung network (default: $LUNG_MASKS_DIR)",
    )
    finish.add_argument(
        "--external",
        metavar="DIR",
        help="images of other hospitals and the table of them, for the section on these in the "
        "model card (default: $XRAY_EXTERNAL_DIR)",
    )
    finish.add_argument(
        "--notes",
        type=Path,
        metavar="FILE.md",
        help="store this text in the bundle, as the section of notes in its model card",
    )
    for command in (screen, evaluate, finish):
        _add_models_option(command)

    download = commands.add_parser(
        "download",
        help="download the dataset from Kaggle",
        description="Download the dataset from Kaggle. A stopped download resumes.",
        epilog="example: python -m xray_core download data/chest_xray",
    )
    download.set_defaults(run=_download)
    download.add_argument(
        "destination",
        nargs="?",
        type=Path,
        metavar="DIR",
        help="where to put it (default: data/chest_xray)",
    )

    export = commands.add_parser(
        "export",
        help="write a model in a format that runs without this project",
        description="Write the networks of a model in a format that runs without this project, "
        "with their calibration and a README, run them and compare the logits.",
        epilog="example: python -m xray_core export resnet50 --format onnx --out exported",
    )
    export.set_defaults(run=_export)
    export.add_argument("name", metavar="NAME", help="name of the bundle")
    export.add_argument(
        "--format", required=True, choices=("openvino", "onnx", "litert", "saved_model")
    )
    export.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to write, new or empty"
    )
    _add_models_option(export)

    pacs = commands.add_parser(
        "pacs",
        help="search a PACS, analyse its studies, watch it for new ones",
        description="Search a PACS over DICOMweb, analyse its studies, and store the results as "
        "DICOM. The PACS is configured by XRAY_PACS_URL or in .streamlit/secrets.toml; see "
        "docs/pacs.md.",
        epilog="example: python -m xray_core pacs analyse --study 1.2.840.1",
    )
    model = argparse.ArgumentParser(add_help=False)
    _add_model_option(model)
    _add_models_option(model)
    add_pacs_commands(pacs, model)
    return parser


def _add_models_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--models",
        type=Path,
        default=MODELS,
        metavar="DIR",
        help="folder of the bundles (default: models, then the shipped models)",
    )


def _add_model_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model", default="resnet50", metavar="NAME", help="name of the bundle (default: resnet50)"
    )


def _positive_seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError("the time must be above 0")
    return seconds


def _app(options: argparse.Namespace) -> None:
    if options.app_models is not None:
        os.environ["XRAY_MODELS"] = str(options.app_models.resolve())
    arguments = ["--server.port", str(options.port), "--server.address", options.address]
    if options.name:
        for host in ("localhost", "127.0.0.1", options.name):
            arguments += ["--server.allowedHosts", host]
        arguments += ["--browser.serverAddress", options.name, "--server.headless", "true"]
    sys.argv = ["streamlit", "run", str(app_folder() / "app.py"), *arguments]
    runpy.run_module("streamlit", run_name="__main__")


def _screen(options: argparse.Namespace) -> None:
    bundle = options.models / options.model
    # Absent where it was not given, so that the predictor's own default applies.
    engine = {} if options.engine is None else {"engine": options.engine}
    common = {"maps": options.maps, "timeout": options.timeout}
    if options.ray is not None:
        from xray_core.scale.ray_screen import screen_on_ray

        summary = screen_on_ray(
            options.source, options.out, bundle, address=options.ray, **common, **engine
        )
    else:
        from xray_core.prediction.predictor import Predictor
        from xray_core.prediction.screen import screen

        predictor = Predictor.load(bundle, **engine)
        summary = screen(options.source, options.out, predictor, **common)
    print(f"{options.out}: {summary.sentence}")


def _evaluate(options: argparse.Namespace) -> None:
    from xray_core.evaluation.tables import metrics_table, summary
    from xray_core.model.bundle import open_bundle

    bundle = open_bundle(options.models / options.model)
    if options.data is None:
        predictions = bundle.predictions()
        source = "stored predictions"
    else:
        from xray_core.dataset.index import build_index, find_dataset
        from xray_core.prediction.labelled import predict_labelled
        from xray_core.prediction.predictor import Predictor

        folder = find_dataset(options.data)
        index = build_index(folder)
        with tqdm(total=int((index["fold"] == "test").sum()), unit="image", disable=None) as bar:
            predictions = predict_labelled(
                Predictor.load(bundle.folder),
                index[index["fold"] == "test"],
                folder,
                progress=lambda done, _: bar.update(done - bar.n) or None,
            )
        missing = int(predictions["probability"].isna().sum())
        if missing:
            print(f"{missing} images have no probability (unreadable or refused) and are excluded.")
        predictions = predictions[predictions["probability"].notna()]
        source = options.data
    metrics = summary(predictions, bundle.calibration)
    print(f"{bundle.name} {bundle.version}, test split, {source}")
    print(metrics_table(metrics))
    if options.json is not None:
        text = json.dumps({"model": bundle.name, "version": bundle.version, **metrics}, indent=2)
        try:
            options.json.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise XrayError(f"{options.json} cannot be written: {error.strerror}.") from error
        print(f"All metrics are in {options.json}.")


def _finish(options: argparse.Namespace) -> None:
    from xray_core.model.bundle import open_bundle

    notes = None if options.notes is None else _read_notes(options.notes)
    bundle = open_bundle(options.models / options.name, kind=None)
    if bundle.kind == "segmentation":
        for option in ("lungs", "external"):
            if getattr(options, option) is not None:
                raise XrayError(
                    f"--{option} works only with a classifier, and {bundle.name} is not one."
                )
    if options.stored:
        given = (options.data, options.masks, options.lungs, options.external)
        if any(option is not None for option in given) or options.skip_unreadable:
            raise XrayError(
                "--stored reads neither dataset nor networks: leave out --data, --masks, --lungs, "
                "--external and --skip-unreadable."
            )
        if bundle.kind == "segmentation":
            from xray_core.training.segmentation_results import finish_stored
        else:
            from xray_core.training.results import finish_stored
        bundle = finish_stored(bundle, notes=notes)
        print(
            f"Metrics, figures and card of {bundle.folder} were rebuilt from stored predictions. "
            "No image was predicted: this does not count as a use of the test set."
        )
        return
    from xray_core.dataset.external import find_external
    from xray_core.dataset.index import find_dataset
    from xray_core.training.masks import find_masks, find_masks_if_named

    folder = find_dataset(options.data)
    if bundle.kind == "segmentation":
        from xray_core.training.finish_segmentation import finish_segmentation_again

        if options.skip_unreadable:
            raise XrayError(
                "A segmentation is rebuilt from all images of its training: leave out "
                "--skip-unreadable."
            )
        bundle = finish_segmentation_again(bundle, folder, find_masks(options.masks), notes=notes)
    else:
        from xray_core.training.plan import LUNGS

        masks, external = find_masks_if_named(options.masks), find_external(options.external)
        from xray_core.training.finish import finish_again  # imports TensorFlow: after all checks

        bundle = finish_again(
            bundle,
            folder,
            lungs=options.lungs or LUNGS,
            skip_unreadable=options.skip_unreadable,
            notes=notes,
            masks=masks,
            external=external,
        )
    print(f"{bundle.folder} was rebuilt.")


def _read_notes(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise XrayError(f"{file} cannot be read as a text file.") from error


def _export(options: argparse.Namespace) -> None:
    from xray_core.prediction.export import export_model

    export = export_model(options.models / options.name, options.format, options.out)
    print(
        f"{export.folder}: {options.name} as {options.format}. The logits of {export.images} "
        f"images differ from those of TensorFlow by at most {export.difference:.1g}."
    )


def _download(options: argparse.Namespace) -> None:
    from xray_core.dataset.download import download

    print(f"The dataset is in {download(options.destination)}.")
