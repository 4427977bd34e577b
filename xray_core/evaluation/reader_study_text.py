"""What readings show, in words: a table of both assessments, and sentences on what changed."""

from __future__ import annotations

from xray_core.evaluation.groups import SMALL_GROUP
from xray_core.evaluation.reader_study import NOT_ENOUGH, ReaderStudy, Reliance
from xray_core.stats.intervals import Estimate, format_estimate

KAPPA_NEEDS = (
    f"Kappa needs {SMALL_GROUP} patients, and more than one kind of assessments and of results."
)
HOW_UNSURE_COUNTS = (
    "An unsure assessment counts as neither pneumonia nor no pneumonia. It lowers sensitivity and "
    "specificity, and its share is given beside them. An indeterminate result of the model is "
    "treated in the same way."
)
AUTOMATION_BIAS = (
    "Automation bias is the tendency to follow a wrong result of a computer against one's own "
    "judgement. It is measured here where the reader's first assessment differs from a wrong "
    "result."
)
LIMITS = (
    "Ranges are 95% intervals by patient. One reader and these images: the numbers do not apply to "
    "other readers, and few images give wide intervals. The model alone: images with a result."
)


def compare_calls(study: ReaderStudy) -> list[dict[str, str]]:
    """Return one row per measure: both assessments, the change between them, and the model alone.

    Each row has the columns "", "First assessment", "Second assessment", "Change" and "Model
    alone"; a cell is empty where a measure has no such number.
    """
    before, after, model = study.before, study.after, study.model
    first, second = study.agreement_before, study.agreement_after
    rows = [
        (
            "Sensitivity",
            before.sensitivity.text,
            after.sensitivity.text,
            study.sensitivity_change.text,
            model.sensitivity.text,
        ),
        (
            "Specificity",
            before.specificity.text,
            after.specificity.text,
            study.specificity_change.text,
            model.specificity.text,
        ),
        (
            "Unsure or indeterminate, with pneumonia",
            before.unsure_pneumonia.text,
            after.unsure_pneumonia.text,
            "",
            model.unsure_pneumonia.text,
        ),
        (
            "Unsure or indeterminate, without",
            before.unsure_normal.text,
            after.unsure_normal.text,
            "",
            model.unsure_normal.text,
        ),
        ("Agreement with the model", first.agreed.text, second.agreed.text, "", ""),
        ("Kappa with the model", _kappa(first.kappa), _kappa(second.kappa), "", ""),
    ]
    columns = ("", "First assessment", "Second assessment", "Change", "Model alone")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def describe_readings(study: ReaderStudy) -> tuple[str, ...]:
    """Return in sentences what `compare_calls` does not show: changes, reliance and limits."""
    changes, reliance = study.changes, study.reliance
    if not study.readings:
        return (_describe_images(study),)
    no_kappa = None in (study.agreement_before.kappa, study.agreement_after.kappa)
    return (
        _describe_images(study),
        f"Changed for the better, from wrong to correct: {changes.better.text}. Changed for the "
        f"worse, from correct to wrong: {changes.worse.text}. Changed from or to unsure: "
        f"{changes.unsure_to_correct} to correct, {changes.unsure_to_wrong} to wrong, "
        f"{changes.correct_to_unsure} from correct, {changes.wrong_to_unsure} from wrong.",
        describe_automation_bias(reliance),
        "Correct results rejected, with another second assessment: "
        f"{reliance.correct_rejected.text}. "
        f"Where the first assessment differed as well: {reliance.correct_not_adopted.text}.",
        HOW_UNSURE_COUNTS,
        *((KAPPA_NEEDS,) if no_kappa else ()),
        LIMITS,
    )


def describe_automation_bias(reliance: Reliance) -> str:
    """Return the sentences on wrong results that the reader followed."""
    followed, adopted = reliance.wrong_followed, reliance.wrong_adopted
    if not followed.images:
        return f"{AUTOMATION_BIAS} No result was wrong, so it cannot be measured."
    start = f"{AUTOMATION_BIAS} Wrong results followed by the second assessment: {followed.text}."
    if not adopted.images:
        return f"{start} The first assessment agreed with all of them, so it cannot be measured."
    return (
        f"{start} Where the first assessment differed: {adopted.text}; this is the automation bias."
    )


def _describe_images(study: ReaderStudy) -> str:
    parts = [f"{_count(study.readings, 'complete reading')} of {_count(study.patients, 'patient')}"]
    for count, what in (
        (study.incomplete, "incomplete and left out"),
        (study.without_result, "without a result of the model"),
        (study.without_reference, "without a reference label"),
        (study.without_patient, "without a known patient, each counted as a patient of its own"),
    ):
        if count:
            parts.append(f"{count} {what}")
    return "; ".join(parts) + "."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _kappa(kappa: Estimate | None) -> str:
    return NOT_ENOUGH if kappa is None else format_estimate(kappa, ".2f")
