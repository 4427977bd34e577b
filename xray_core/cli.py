"""The command line: `python -m xray_core screen | evaluate | finish | download`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path

from tqdm import tqdm

from xray_core.errors import XrayError


def parser() -> argparse.ArgumentParser:
    """The four commands and their options."""
    made = argparse.ArgumentParser(
        prog="python -m xray_core",
        description="Screen folders of X-rays, evaluate models, rebuild bundles, get the dataset.",
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text.replace("%", "%%"), description=text)
        added.add_argument(
            "--models", type=Path, default=Path("models"), metavar="DIR", help="where bundles are"
        )
        return added

    screen = command("screen", "Predict every image in a folder and write one CSV row for each.")
    screen.add_argument("folder", type=Path, metavar="FOLDER")
    screen.add_argument("--out", type=Path, required=True, metavar="FILE.csv")
    screen.add_argument("--model", default="resnet50", metavar="NAME")

    evaluate = command("evaluate", "Print how good a model is, every number with its 95% interval.")
    evaluate.add_argument("--model", default="resnet50", metavar="NAME")
    evaluate.add_argument(
        "--data",
        metavar="DIR",
        help="predict this folder's test split instead of using the stored predictions",
    )
    evaluate.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there, too")

    finish = command("finish", "Rebuild all that follows a model's weights, without training.")
    finish.add_argument("name", metavar="NAME")
    finish.add_argument("--data", metavar="DIR", help="the dataset that it was trained on")
    finish.add_argument(
        "--skip-unreadable",
        action="store_true",
        help="leave out images that cannot be read, and record them in the bundle",
    )
    finish.add_argument(
        "--stored",
        action="store_true",
        help="rebuild metrics, figures and card from the stored predictions: no dataset, no "
        "TensorFlow, and no further use of the test set",
    )

    download = commands.add_parser("download", help="Fetch the dataset from Kaggle.")
    download.add_argument(
        "destination", nargs="?", type=Path, metavar="DIR", help="default: data/chest_xray"
    )
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status. Errors are one sentence on standard error."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # its hints are for whoever writes it
    options = parser().parse_args(arguments)
    run = {"screen": _screen, "evaluate": _evaluate, "finish": _finish, "download": _download}
    try:
        run[options.command](options)
    except XrayError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        return 130
    return 0


def _screen(options: argparse.Namespace) -> None:
    from xray_core.prediction.predictor import Predictor
    from xray_core.prediction.screen import screen

    counts = screen(options.folder, options.out, Predictor.load(options.models / options.model))
    found = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    print(f"{options.out}: {found or 'no files'}")


def _evaluate(options: argparse.Namespace) -> None:
    from xray_core.evaluation.tables import metrics_table, summary
    from xray_core.model.bundle import open_bundle

    bundle = open_bundle(options.models / options.model)
    if options.data is None:
        predictions = bundle.predictions()
        origin = "stored predictions"
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
        unseen = int(predictions["probability"].isna().sum())
        if unseen:
            print(
                f"{unseen} images have no probability (unreadable, or no images) and do not count."
            )
        predictions = predictions[predictions["probability"].notna()]
        origin = options.data
    found = summary(predictions, bundle.calibration)
    print(f"{bundle.name} {bundle.version}, test split, {origin}")
    print(metrics_table(found))
    if options.json is not None:
        text = json.dumps({"model": bundle.name, "version": bundle.version, **found}, indent=2)
        try:
            options.json.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise XrayError(f"{options.json} cannot be written: {error.strerror}.") from error
        print(f"All numbers are in {options.json}.")


def _finish(options: argparse.Namespace) -> None:
    from xray_core.model.bundle import open_bundle

    if options.stored:
        if options.data is not None or options.skip_unreadable:
            raise XrayError("--stored reads no dataset: leave out --data and --skip-unreadable.")
        from xray_core.training.results import finish_stored

        bundle = finish_stored(open_bundle(options.models / options.name))
        print(
            f"Metrics, figures and card of {bundle.folder} are rebuilt from stored predictions. No "
            "image was predicted: this is no further use of the test set."
        )
        return
    from xray_core.dataset.index import find_dataset
    from xray_core.training.finish import finish_again

    folder = find_dataset(options.data)
    bundle = finish_again(
        open_bundle(options.models / options.name), folder, skip_unreadable=options.skip_unreadable
    )
    print(f"{bundle.folder} is rebuilt.")


def _download(options: argparse.Namespace) -> None:
    from xray_core.dataset.download import download

    print(f"The dataset is in {download(options.destination)}.")


if __name__ == "__main__":
    sys.exit(main())
