"""The result of one image as HTML: sentence, probability scale, post-test probability, cautions."""

from html import escape

import streamlit as st

from xray_core.model.calibration import Calibration
from xray_core.prediction.result import Prediction
from xray_core.prediction.wording import percent, share

SYMBOLS = {"PNEUMONIA": "▲", "NORMAL": "○", "UNCERTAIN": "◆", "REFUSED": "✕", "UNREADABLE": "✕"}

_PRE_TEST, _PRE_TEST_INPUT = "prediction_pre_test", "prediction_pre_test_input"


def result_html(prediction: Prediction, calibration: Calibration, title: str) -> str:
    """Return the result with its sentence and, if there is a probability, its scale.

    `title` names the image.
    """
    verdict = prediction.verdict
    shown_as = f'<span aria-hidden="true">{SYMBOLS[verdict]}</span> {prediction.shown_as}'
    tone = f"{verdict.lower()} unlike" if prediction.unlike else verdict.lower()
    # The reasons of a result with a probability name the adjustment among its cautions.
    unlisted = prediction.adjustment if prediction.probability is None else ""
    meaning = prediction.sentence or " ".join(filter(None, (*prediction.reasons, unlisted)))
    parts = [
        f'<section class="result {tone}" aria-label="Result">',
        '<div role="status" aria-live="polite">',
        f'<p class="which">{escape(title)}</p>',
        '<h2 class="verdict">',
        f"{shown_as}</h2>",
        f'<p class="meaning">{escape(meaning)}</p>',
        "</div>",
    ]
    if prediction.probability is not None:
        note = prediction.probability_note
        parts.append(scale_html(prediction.probability, calibration, note))
    return "".join([*parts, "</section>"])


def cautions_html(prediction: Prediction) -> str:
    """Return the cautions of an analysed image, "" where there are none."""
    if prediction.probability is None or not prediction.reasons:
        return ""
    items = "".join(f"<li>{escape(reason)}</li>" for reason in prediction.reasons)
    return (
        f'<section class="cautions"><h2 class="small">Cautions ({len(prediction.reasons)})</h2>'
        f"<ul>{items}</ul></section>"
    )


def pre_test_control(prediction: Prediction, calibration: Calibration) -> None:
    """Draw the pre-test probability, kept in the session, and the post-test probability."""
    st.session_state[_PRE_TEST_INPUT] = round(100 * (pre_test() or calibration.prior))
    st.number_input(
        "Pre-test probability (%)",
        min_value=1,
        max_value=99,
        step=1,
        width=290,
        key=_PRE_TEST_INPUT,
        on_change=_keep_pre_test,
        help="The probability of pneumonia before imaging, from history, examination and local "
        f"prevalence. The default is {calibration.prior:.0%}, the pre-test probability at which "
        "the model is calibrated. The result and its thresholds do not depend on it.",
    )
    after = prediction.post_test(st.session_state[_PRE_TEST_INPUT] / 100)
    if after is not None:
        st.html(f'<p class="post-test">Post-test probability <b>{percent(after)}</b></p>')


def pre_test() -> float | None:
    """Return the pre-test probability in (0, 1) that the visitor set, None if none was set."""
    return st.session_state.get(_PRE_TEST)


def _keep_pre_test() -> None:
    # The state of a widget ends when another page is opened.
    st.session_state[_PRE_TEST] = st.session_state[_PRE_TEST_INPUT] / 100


def scale_html(probability: float, calibration: Calibration, note: str = "") -> str:
    """Return a scale from 0 to 100% with the indeterminate band, both thresholds and the image.

    A probability with a `note` on its use is grey, with the note beside it.
    """
    low, high = calibration.uncertain
    exclusion = share(calibration.exclusion_threshold)
    grey, remark = (" ranking", f" ({note})") if note else ("", "")
    label = (
        f"Probability of pneumonia {percent(probability)}{remark}. Indeterminate from {low:.0%} to "
        f"{high:.0%}. Decision threshold {calibration.decision_threshold:.0%}, exclusion threshold "
        f"{exclusion}."
    )
    mark = min(max(probability, 0.004), 0.996)
    narrow = 0.3 if note else 0.08  # a longer text needs more room on one side
    side = "left" if mark < narrow else "right" if mark > 1 - narrow else "middle"
    ticks = "".join(
        f'<span class="tick" style="left:{100 * place:.0f}%">{place:.0%}</span>'
        for place in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    return f"""
<div class="scale{grey}" role="img" aria-label="{label}"><div aria-hidden="true">
  <div class="marks"><span class="mark {side}" style="left:{100 * mark:.2f}%"
    ><b>{percent(probability)}</b>{remark}</span></div>
  <div class="track">
    <span class="band" style="left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%"></span>
    <span class="point" style="left:{100 * calibration.decision_threshold:.2f}%"></span>
    <span class="point dashed" style="left:{100 * calibration.exclusion_threshold:.2f}%"></span>
    <span class="needle" style="left:{100 * mark:.2f}%"></span>
  </div>
  <div class="ticks">{ticks}</div>
  <p class="key">
    <span><i class="band"></i>indeterminate, {low:.0%} to {high:.0%}</span>
    <span><i class="point"></i>decision threshold, {calibration.decision_threshold:.0%}</span>
    <span><i class="point dashed"></i>exclusion threshold, {exclusion}</span>
  </p>
</div></div>"""
