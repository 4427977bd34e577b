"""The commands `python -m xray_core pacs search`, `analyse` and `watch`."""

from __future__ import annotations

import argparse
import sys
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from xray_core.errors import PacsError, XrayError
from xray_core.pacs.search import MODALITIES, StudyFound, StudyQuery
from xray_core.pacs.settings import Server, find_server

if TYPE_CHECKING:
    from xray_core.pacs.analysis import ImageResult
    from xray_core.pacs.client import PacsClient

_COLUMNS = ("date", "modality", "body part", "images", "Study Instance UID")
_IDENTITY_COLUMNS = ("patient", "patient ID", "accession number", "description")
_MASKED = "Identity is not shown. XRAY_PACS_SHOW_IDENTITY=1 shows it."


def add_commands(parser: argparse.ArgumentParser, models: argparse.ArgumentParser) -> None:
    """Add the subcommands to the parser of `pacs`.

    Parameters
    ----------
    parser : argparse.ArgumentParser
        Of `python -m xray_core pacs`.
    models : argparse.ArgumentParser
        A parent parser with the options `--model` and `--models`.
    """
    commands = parser.add_subparsers(dest="pacs_command", required=True, metavar="COMMAND")
    server = argparse.ArgumentParser(add_help=False)
    server.add_argument(
        "--server", metavar="NAME", help="name of the PACS in the settings (default: the first)"
    )

    search = commands.add_parser(
        "search",
        parents=[server],
        help="list the studies that match",
        description="List studies with radiographs (CR, DX), the newest first. Without a term they "
        "are those of today.",
        epilog="example: python -m xray_core pacs search --from 2026-11-01 --description '*CHEST*'",
    )
    search.set_defaults(run=_search)
    search.add_argument("--patient-id", default="", metavar="TEXT", help="* and ? are wildcards")
    search.add_argument("--accession", default="", metavar="TEXT", help="accession number")
    search.add_argument("--description", default="", metavar="TEXT", help="of the study")
    search.add_argument(
        "--from", dest="first", type=_day, metavar="DAY", help="first day, YYYY-MM-DD"
    )
    search.add_argument("--to", dest="last", type=_day, metavar="DAY", help="last day, YYYY-MM-DD")
    search.add_argument(
        "--modality",
        choices=MODALITIES,
        action="append",
        help="may be given twice (default: both)",
    )

    analyse = commands.add_parser(
        "analyse",
        parents=[server, models],
        help="analyse the images of one study",
        description="Analyse the frontal chest images of one study. The others are listed with the "
        "reason. The exit status is 0 if every image has a result or a reason.",
        epilog="example: python -m xray_core pacs analyse --study 1.2.840.1 --store",
    )
    analyse.set_defaults(run=_analyse)
    analyse.add_argument("--study", required=True, metavar="UID", help="Study Instance UID")
    analyse.add_argument(
        "--store",
        action="store_true",
        help="store the results in the study; needs XRAY_PACS_WRITE=1",
    )
    analyse.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="also write the results as DICOM files into this folder; they hold the patient's "
        "identity",
    )

    watch = commands.add_parser(
        "watch",
        parents=[server, models],
        help="analyse new studies as they arrive",
        description="Poll for new studies with radiographs (CR, DX), analyse each image once and, "
        "with XRAY_PACS_WRITE=1, store the results. Only counts are printed.",
        epilog="example: python -m xray_core pacs watch --interval 60",
    )
    watch.set_defaults(run=_watch)
    watch.add_argument(
        "--interval", type=_seconds, default=30.0, metavar="SECONDS", help="(default: 30)"
    )
    watch.add_argument(
        "--days",
        type=_whole,
        default=1,
        metavar="N",
        help="studies of today and of N days before (default: 1)",
    )
    watch.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="database of what was analysed (default: pacs-watch.sqlite in the account's folder "
        "for program state)",
    )
    watch.add_argument(
        "--lease",
        type=_seconds,
        default=900.0,
        metavar="SECONDS",
        help="an image that a killed watcher had begun is free again after this time "
        "(default: 900); longer than fetching, analysing and storing one image takes",
    )
    watch.add_argument("--once", action="store_true", help="poll once and end")
    watch.add_argument(
        "--dry-run",
        action="store_true",
        help="print how many images would be analysed; fetch, store and record nothing",
    )


def _search(options: argparse.Namespace) -> None:
    server = find_server(options.server)
    terms = (options.patient_id, options.accession, options.description)
    first, last = options.first, options.last
    if first is None and last is None and not any(terms):
        first = last = date.today()
    if first is not None and last is not None and first > last:
        raise XrayError("The first day of a search is after its last day.")
    query = StudyQuery(
        patient_id=options.patient_id,
        accession=options.accession,
        description=options.description,
        first=first,
        last=last,
        modalities=tuple(dict.fromkeys(options.modality or MODALITIES)),
    )
    studies, truncated = _connect(server).search(query)
    rows = [_COLUMNS + (_IDENTITY_COLUMNS if server.show_identity else ())]
    rows += [_row(study, server.show_identity) for study in studies]
    if studies:
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            print("  ".join(cells).rstrip())
    print("1 study." if len(studies) == 1 else f"{len(studies)} studies.")
    if truncated:
        print("The PACS has more. Narrow the search.")
    if studies and not server.show_identity:
        print(_MASKED)


def _row(study: StudyFound, show_identity: bool) -> tuple[str, ...]:
    cells = (
        study.day.isoformat() if study.day else "",
        " ".join(study.modalities),
        " ".join(study.body_parts),
        str(study.images),
        study.uid,
        *(study.identity if show_identity else ()),
    )
    # A text of the PACS must not control the terminal.
    return tuple("".join(c if c.isprintable() else "?" for c in cell) for cell in cells)


def _analyse(options: argparse.Namespace) -> None:
    server = find_server(options.server)
    if options.store and not server.write:
        raise PacsError(f"Storing in the {server.title} is not allowed: set XRAY_PACS_WRITE=1.")
    if options.out is not None:
        _make_folder(options.out)
    client = _connect(server)
    content = client.content(options.study)
    for modality, count in content.others:
        print(f"{count} of modality {modality}: skipped, not a radiograph (CR or DX).")
    if not content.images:
        print("The study has no radiographs (CR or DX).")
        return
    from xray_core.pacs.analysis import analyse_study, store_results
    from xray_core.prediction.predictor import Predictor

    predictor = Predictor.load(options.models / options.model)
    make_files = options.store or options.out is not None
    stored = made = failed = 0
    results = analyse_study(client, predictor, content, make_files=make_files)
    for number, (image, result) in enumerate(results, 1):
        print(f"Image {number} of {len(content.images)}: {_describe(result)}", flush=True)
        made += len(result.files)
        failed += bool(result.problem)
        if options.out is not None:
            for file in result.files:
                _write(options.out / f"image-{number}-{file.kind}.dcm", file.data)
        if options.store:
            stored += store_results(client, image.study, result.files)
    if options.out is not None:
        print(f"{made} DICOM files were written to {options.out}.")
    if options.store:
        print(f"{stored} results were stored, {made - stored} were already there.")
    if failed:
        images = "1 image" if failed == 1 else f"{failed} images"
        print(f"The results of {images} could not be written as DICOM.")


def _describe(result: ImageResult) -> str:
    prediction = result.prediction
    if prediction is None:
        return "skipped. " + " ".join(result.skipped)
    if prediction.probability is None:
        text = f"{prediction.shown_as}. {' '.join(prediction.reasons)}"
    else:
        cautions = "".join(f" Caution: {reason}" for reason in prediction.reasons)
        text = f"{prediction.shown_as}. {prediction.sentence}{cautions}"
    return f"{text} {result.problem}".rstrip()


def _watch(options: argparse.Namespace) -> None:
    from xray_core.model.bundle import open_bundle
    from xray_core.pacs.state import WatchState

    server = find_server(options.server)
    client = _connect(server)
    bundle = open_bundle(options.models / options.model)
    state = WatchState(options.state or _default_state(), options.lease)
    from xray_core.pacs.watch import Watcher
    from xray_core.prediction.predictor import Predictor

    watcher = Watcher(
        client,
        bundle,
        lambda: Predictor.load(bundle.folder),
        state,
        days=options.days,
        log=lambda line: print(line, flush=True),
    )
    if options.dry_run:
        counts = watcher.count_waiting()
        print(f"{counts.studies} studies searched, {counts.waiting} images not analysed yet.")
        return
    if not server.write:
        print(
            "Results are counted and not stored: XRAY_PACS_WRITE is not 1.",
            flush=True,
        )
    watcher.run(options.interval, once=options.once)


def _connect(server: Server) -> PacsClient:
    from xray_core.pacs.client import PacsClient

    if server.is_unencrypted:
        print(
            f"Images and password travel to the {server.title} without encryption: its url "
            "starts with http.",
            file=sys.stderr,
        )
    return PacsClient(server)


def _default_state() -> Path:
    from platformdirs import user_state_path

    return user_state_path("xray_core") / "pacs-watch.sqlite"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise XrayError(f"{folder} is a file: name a folder.") from error
    except OSError as error:
        raise XrayError(f"The folder {folder} cannot be made: {error.strerror}.") from error


def _write(file: Path, data: bytes) -> None:
    try:
        file.write_bytes(data)
    except OSError as error:
        raise XrayError(f"{file} cannot be written: {error.strerror}.") from error


def _day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise argparse.ArgumentTypeError("a day is written YYYY-MM-DD") from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError("from 1 to 86400 seconds")
    return seconds


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > 3650:
        raise argparse.ArgumentTypeError("a number of days from 0 to 3650")
    return int(text)
