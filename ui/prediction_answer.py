"""The answer to one film: the verdict in a word, its sentence, and the probability on its scale."""

from html import escape

from xray_core.model.calibration import Calibration
from xray_core.prediction.predictor import Prediction
from xray_core.prediction.wording import percent

WORDS = {
    "PNEUMONIA": "Pneumonia",
    "NORMAL": "Normal",
    "UNCERTAIN": "Refer",
    "REFUSED": "No answer",
    "UNREADABLE": "Unreadable",
}
SIGNS = {"PNEUMONIA": "▲", "NORMAL": "○", "UNCERTAIN": "◆", "REFUSED": "✕", "UNREADABLE": "✕"}


def sentence(prediction: Prediction, calibration: Calibration) -> str:
    """Return the verdict in one line that a clinician understands."""
    if prediction.probability is None:
        return " ".join(prediction.reasons)
    chance = f"probability {percent(prediction.probability)}"
    if prediction.verdict == "UNCERTAIN":
        return (
            f"The network cannot tell ({chance}): refer the film to a radiologist. This is "
            "neither a weak yes nor a weak no."
        )
    if prediction.verdict == "PNEUMONIA":
        return f"The network finds signs of pneumonia on this film ({chance})."
    if prediction.probability < calibration.rule_out:
        return (
            f"The network finds no signs of pneumonia on this film ({chance}, below the rule-out "
            "point)."
        )
    return (
        f"The network finds no signs of pneumonia on this film ({chance}), but does not rule it "
        f"out: the rule-out point is {_fine(calibration.rule_out)}."
    )


def answer_html(prediction: Prediction, calibration: Calibration, title: str) -> str:
    """Return verdict, sentence and, where there is a probability, its scale, as HTML.

    `title` says which film it is of.
    """
    verdict = prediction.verdict
    parts = [
        f'<section class="answer {verdict.lower()}" aria-label="Result">',
        '<div role="status" aria-live="polite">',
        f'<p class="which">{escape(title)}</p>',
        '<h2 class="verdict">',
        f'<span aria-hidden="true">{SIGNS[verdict]}</span> {WORDS[verdict]}</h2>',
        f'<p class="meaning">{escape(sentence(prediction, calibration))}</p>',
        "</div>",
    ]
    if prediction.probability is not None:
        parts.append(scale_html(prediction.probability, calibration))
    return "".join([*parts, "</section>"])


def scale_html(probability: float, calibration: Calibration) -> str:
    """Return 0 to 100% with the uncertain band, both operating points and the film's mark."""
    low, high = calibration.uncertain
    spoken = (
        f"Probability of pneumonia {percent(probability)}. Uncertain from {low:.0%} to {high:.0%}. "
        f"Main operating point {calibration.main:.0%}, "
        f"rule-out point {_fine(calibration.rule_out)}."
    )
    mark = min(max(probability, 0.004), 0.996)
    side = "left" if mark < 0.08 else "right" if mark > 0.92 else "middle"
    ticks = "".join(
        f'<span class="tick" style="left:{100 * share:.0f}%">{share:.0%}</span>'
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    return f"""
<div class="scale" role="img" aria-label="{spoken}"><div aria-hidden="true">
  <div class="marks"><span class="mark {side}" style="left:{100 * mark:.2f}%"
    ><b>{percent(probability)}</b></span></div>
  <div class="track">
    <span class="band" style="left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%"></span>
    <span class="point" style="left:{100 * calibration.main:.2f}%"></span>
    <span class="point dashed" style="left:{100 * calibration.rule_out:.2f}%"></span>
    <span class="needle" style="left:{100 * mark:.2f}%"></span>
  </div>
  <div class="ticks">{ticks}</div>
  <p class="key">
    <span><i class="band"></i>uncertain, {low:.0%} to {high:.0%}</span>
    <span><i class="point"></i>main operating point, {calibration.main:.0%}</span>
    <span><i class="point dashed"></i>rule-out point, {_fine(calibration.rule_out)}</span>
    <span>calibrated as if {calibration.prior:.0%} of films had pneumonia</span>
  </p>
</div></div>"""


def _fine(share: float) -> str:
    """Return percents, with a decimal where whole ones would say little."""
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}"


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
