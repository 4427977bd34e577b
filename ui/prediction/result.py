"""The result of one image: in words, its sentence, its scale, and the cautions right below."""

from html import escape

import streamlit as st

from xray_core.model.calibration import Calibration
from xray_core.prediction.predictor import Prediction
from xray_core.prediction.wording import percent, share

SIGNS = {"PNEUMONIA": "▲", "NORMAL": "○", "UNCERTAIN": "◆", "REFUSED": "✕", "UNREADABLE": "✕"}

_PRE_TEST, _PRE_TEST_INPUT = "prediction_pre_test", "prediction_pre_test_input"


def answer_html(prediction: Prediction, calibration: Calibration, title: str) -> str:
    """Return result, sentence and, where there is a probability, its scale, as HTML.

    `title` says which image it is of.
    """
    verdict = prediction.verdict
    shown_as = f'<span aria-hidden="true">{SIGNS[verdict]}</span> {prediction.shown_as}'
    meaning = prediction.sentence or " ".join(prediction.reasons)
    parts = [
        f'<section class="answer {verdict.lower()}" aria-label="Result">',
        '<div role="status" aria-live="polite">',
        f'<p class="which">{escape(title)}</p>',
        '<h2 class="verdict">',
        f"{shown_as}</h2>",
        f'<p class="meaning">{escape(meaning)}</p>',
        "</div>",
    ]
    if prediction.probability is not None:
        parts.append(scale_html(prediction.probability, calibration))
    return "".join([*parts, "</section>"])


def cautions_html(prediction: Prediction) -> str:
    """Return the cautions of an image that was analysed, "" where there are none."""
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
        key=_PRE_TEST_INPUT,
        on_change=_keep_pre_test,
        help="How likely pneumonia was before the image was read, from history, examination and "
        f"its frequency where you work. The default is {calibration.prior:.0%}, at which the "
        "probability of the model is calibrated. The result and its thresholds do not depend on "
        "it.",
    )
    after = prediction.post_test(st.session_state[_PRE_TEST_INPUT] / 100)
    if after is not None:
        st.html(f'<p class="post-test">Post-test probability <b>{percent(after)}</b></p>')


def pre_test() -> float | None:
    """Return the pre-test probability in (0, 1) that the visitor set, None if none was set."""
    return st.session_state.get(_PRE_TEST)


def _keep_pre_test() -> None:
    # A widget's own state ends when another page is opened.
    st.session_state[_PRE_TEST] = st.session_state[_PRE_TEST_INPUT] / 100


def scale_html(probability: float, calibration: Calibration) -> str:
    """Return 0 to 100% with the uncertain band, both thresholds and the image's mark."""
    low, high = calibration.uncertain
    spoken = (
        f"Probability of pneumonia {percent(probability)}. Indeterminate from {low:.0%} to "
        f"{high:.0%}. Decision threshold {calibration.decision_threshold:.0%}, exclusion threshold "
        f"{share(calibration.exclusion_threshold)}."
    )
    mark = min(max(probability, 0.004), 0.996)
    side = "left" if mark < 0.08 else "right" if mark > 0.92 else "middle"
    ticks = "".join(
        f'<span class="tick" style="left:{100 * place:.0f}%">{place:.0%}</span>'
        for place in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    return f"""
<div class="scale" role="img" aria-label="{spoken}"><div aria-hidden="true">
  <div class="marks"><span class="mark {side}" style="left:{100 * mark:.2f}%"
    ><b>{percent(probability)}</b></span></div>
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
    <span><i class="point dashed"></i>exclusion threshold, {share(calibration.exclusion_threshold)}</span>
    <span>assumes a {calibration.prior:.0%} pre-test probability</span>
  </p>
</div></div>"""


STYLE = """
<style>
.answer { --tone: var(--ink); color: var(--ink); }
.answer.pneumonia { --tone: light-dark(#a3280f, #ff9c80); }
.answer.normal { --tone: light-dark(#0b6148, #6fd6ae); }
.answer.uncertain { --tone: light-dark(#7a5200, #ffcf66); }
.answer .verdict {
  margin: 0; padding: 0; font-size: 2.6rem; line-height: 1.1; font-weight: 700;
  color: var(--tone);
}
.answer .which { margin: 0; font-size: .85rem; color: var(--soft-ink); }
.answer .verdict span { font-size: .8em; }
.answer .meaning { margin: .15rem 0 0; font-size: 1.05rem; max-width: 60rem; }
.cautions { color: var(--ink); }
.cautions h2.small { margin: 0; }
.cautions ul { margin: .1rem 0 0; padding-left: 1.2rem; }
.cautions li { margin: 0; font-size: .95rem; line-height: 1.35; }
.post-test { margin: 0; font-size: .95rem; color: var(--ink); }
.post-test b { white-space: nowrap; }
.scale { margin-top: .35rem; }
.scale .marks { position: relative; height: 1.5rem; }
.scale .mark {
  position: absolute; bottom: 0; transform: translateX(-50%); line-height: 1.4rem;
  color: var(--tone); white-space: nowrap;
}
.scale .mark.left { transform: translateX(14px); }
.scale .mark.right { transform: translateX(calc(-100% - 14px)); }
.scale .track {
  position: relative; height: 16px; background: var(--panel); border: 1px solid var(--soft-ink);
  border-radius: 3px;
}
.scale .band {
  position: absolute; top: 0; bottom: 0;
  background: repeating-linear-gradient(45deg, var(--line) 0 4px, transparent 4px 8px);
  border-inline: 1px solid var(--soft-ink);
}
.scale .point { position: absolute; top: -3px; bottom: -3px; border-left: 2px solid var(--ink); }
.scale .point.dashed { border-left-style: dotted; }
.scale .needle {
  position: absolute; top: -7px; width: 0; height: 0; transform: translateX(-50%);
  border: 9px solid transparent; border-bottom-width: 0; border-top: 14px solid var(--tone);
  filter: drop-shadow(0 0 1px var(--ink));
}
.scale .ticks { position: relative; height: 1.15rem; font-size: .75rem; color: var(--soft-ink); }
.scale .tick { position: absolute; transform: translateX(-50%); }
.scale .tick:first-child { transform: none; }
.scale .tick:last-child { transform: translateX(-100%); }
.scale .key { margin: 0; font-size: .8rem; color: var(--soft-ink); line-height: 1.5; }
.scale .key span { display: inline-block; margin-right: 1.2rem; }
.scale .key i { display: inline-block; position: static; height: 11px; margin-right: .35rem; }
.scale .key i.band { width: 18px; }
@media (max-width: 640px) {
  .answer .verdict { font-size: 2.1rem; }
  .answer .meaning { font-size: .95rem; }
}
</style>
"""
