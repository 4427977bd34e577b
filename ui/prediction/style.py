"""The style sheet of the Prediction page."""

STYLE = """
<style>
h1.page { font-size: 1.35rem; margin: 0; padding: 0; font-weight: 600; white-space: nowrap; }
[data-testid="stMainBlockContainer"] { padding-top: 2rem; }
@media (min-width: 1200px) { [data-testid="stMainBlockContainer"] { padding-bottom: 2.6rem; } }
h2.small { font-size: 1rem; margin: .2rem 0 -.6rem; padding: 0; font-weight: 600; }

/* Hides file names during the upload; after it the widget is replaced by an empty one. */
.st-key-drop [data-testid="stFileChips"],
.st-key-drop [data-testid="stFileChip"],
.st-key-drop [data-testid="stFileUploaderFile"] { display: none; }
.st-key-drop [data-testid="stFileUploaderDropzone"] {
  padding: .4rem .8rem; min-height: 0; align-items: center; flex-direction: row;
}
.st-key-drop [data-testid="stFileUploaderDropzoneInstructions"] { display: none; }
.st-key-drop [data-testid="stFileUploaderDropzone"]::after {
  content: "or drop X-rays here";
  color: var(--soft-ink); font-size: .9rem; line-height: 1.3;
}
.st-key-drop { min-height: 52px; }
.st-key-bar { gap: .4rem; }
.st-key-bar .st-key-drop { width: 320px; flex: none; }
.st-key-bar [data-testid="stFileUploaderDropzone"] { overflow: hidden; }
.st-key-bar [data-testid="stFileUploaderDropzone"]::after { white-space: nowrap; }
@media (max-width: 640px) {
  .st-key-home .st-key-drop [data-testid="stFileUploaderDropzone"] { min-height: 120px; }
  .st-key-bar h1.page { position: absolute; clip-path: inset(50%); }
  .st-key-bar > :has(h1.page) { position: absolute; }
  .st-key-bar .st-key-drop { width: auto; }
  .st-key-bar .st-key-drop [data-testid="stFileUploaderDropzone"] { padding: .3rem; }
  .st-key-bar .st-key-drop [data-testid="stFileUploaderDropzone"]::after { display: none; }
}

/* Before an image is opened: a large drop zone, and the examples as pictures. */
.st-key-home .st-key-drop [data-testid="stFileUploaderDropzone"] {
  min-height: 190px; flex-direction: column; justify-content: center; gap: .6rem;
  border: 2px dashed var(--soft-ink);
}
.st-key-home .st-key-drop [data-testid="stFileUploaderDropzone"]::after {
  content: "or drop frontal chest X-rays here: JPEG, PNG, TIFF, DICOM or ZIP";
  font-size: 1rem; text-align: center;
}
.st-key-home .st-key-examples { gap: .8rem; }
.st-key-home [class*="st-key-example-"]:not(.st-key-example-random) button {
  width: 172px; height: 208px; padding: 0 .3rem .4rem; align-items: flex-end;
  background-size: 160px 160px; background-repeat: no-repeat; background-position: 50% 6px;
}

/* The list of studies is not downloaded or searched, and the buttons for it cover others. */
.st-key-pacs [data-testid="stElementToolbar"] { display: none; }

:has(> .st-key-busy):not(:has([data-testid="stSpinner"], [data-testid="stProgress"])) {
  display: none;
}

/* The list of studies is not downloaded or searched, and the buttons for it cover others. */
.st-key-pacs [data-testid="stElementToolbar"] { display: none; }

/* The viewer beside result and details, with the list of several images on its left. With less
   room the list stands above, and with little room one stands below the other. */
.st-key-reading { container: reading / inline-size; }
.st-key-case:has(.st-key-case-result) {
  display: grid; gap: .6rem 1.2rem; grid-template:
    "viewer result" auto
    "viewer details" 1fr / minmax(0, 62fr) minmax(0, 38fr);
}
.st-key-case > :has(.st-key-several) { grid-area: list; order: -1; }
.st-key-case > :has(.st-key-case-viewer) { grid-area: viewer; }
.st-key-case-viewer { min-height: calc(clamp(600px, 100vh - 250px, 1400px) + 60px); }
@media (max-width: 1024px) { .st-key-case-viewer { min-height: 300px; } }
.st-key-case > :has(.st-key-case-result) { grid-area: result; order: -1; }
.st-key-case > :has(.st-key-case-details) { grid-area: details; }
.st-key-case > :has(.st-key-all-images) { grid-area: all; order: 1; }
.st-key-case.st-key-case:has(.st-key-several) {
  grid-template:
    "list viewer result" auto
    "list viewer details" auto
    "all viewer details" 1fr / 250px minmax(0, 1fr) minmax(0, 380px);
}
@container reading (max-width: 1180px) {
  .st-key-case.st-key-case:has(.st-key-several) {
    grid-template:
      "list all" auto
      "viewer result" auto
      "viewer details" 1fr / minmax(0, 62fr) minmax(0, 38fr);
  }
}
@container reading (max-width: 940px) {
  .st-key-case.st-key-case.st-key-case.st-key-case:has(.st-key-case-result) { display: flex; }
}
:is(.st-key-all-images, .st-key-downloads, .st-key-actions) button { padding-inline: .5rem; }

/* A label beside its control. */
:is(.st-key-pre-test, .st-key-method, .st-key-window)
    :is([data-testid="stNumberInput"], [data-testid="stSelectbox"]) {
  display: flex; flex-direction: row; align-items: center; gap: .6rem;
}
:is(.st-key-pre-test, .st-key-method, .st-key-window) [data-testid="stWidgetLabel"] {
  margin: 0; min-height: 0; flex: none; width: auto; gap: .25rem;
}
.st-key-pre-test [data-testid="stNumberInputContainer"] { flex: 1; min-width: 0; width: auto; }
:is(.st-key-method, .st-key-window) [data-testid="stSelectbox"] > div {
  flex: 1; min-width: 0; width: auto;
}
.st-key-pre-test, .st-key-method { gap: .3rem .8rem; }
p.legend { margin: 0; font-size: .85rem; color: var(--soft-ink); }
p.legend b { color: var(--ink); }
h3.small { font-size: 1rem; margin: 0; padding: 0; }

/* The result, its scale and its cautions. */
.result { --tone: var(--ink); color: var(--ink); }
.result.pneumonia { --tone: light-dark(#a3280f, #ff9c80); }
.result.normal { --tone: light-dark(#0b6148, #6fd6ae); }
.result.uncertain { --tone: light-dark(#7a5200, #ffcf66); }
.result .verdict {
  margin: 0; padding: 0; font-size: 1.75rem; line-height: 1.15; font-weight: 700;
  color: var(--tone);
}
.result.unlike .verdict { font-size: 1.4rem; }
.result .which { margin: 0; font-size: .85rem; color: var(--soft-ink); }
.result .verdict span { font-size: .8em; }
.result .meaning { margin: .15rem 0 0; font-size: 1rem; line-height: 1.4; max-width: 60rem; }
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
.scale .mark.middle { bottom: .3rem; }
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
.scale.ranking .mark { color: var(--soft-ink); }
.scale.ranking .needle { border-top-color: var(--soft-ink); filter: none; }
.scale .ticks { position: relative; height: 1.15rem; font-size: .75rem; color: var(--soft-ink); }
.scale .tick { position: absolute; transform: translateX(-50%); }
.scale .tick:first-child { transform: none; }
.scale .tick:last-child { transform: translateX(-100%); }
.scale .key { margin: 0; font-size: .8rem; color: var(--soft-ink); line-height: 1.5; }
.scale .key span { display: inline-block; margin-right: 1.2rem; }
.scale .key i { display: inline-block; position: static; height: 11px; margin-right: .35rem; }
.scale .key i.band { width: 18px; }
@media (max-width: 640px) {
  .result .meaning { font-size: .95rem; }
}
</style>
"""
