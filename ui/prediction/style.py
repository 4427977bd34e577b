"""How the Prediction page is laid out, beyond what Streamlit's own columns do."""

STYLE = """
<style>
h1.page { font-size: 1.35rem; margin: 0; padding: 0; font-weight: 600; }
h2.small { font-size: 1rem; margin: .2rem 0 -.6rem; padding: 0; font-weight: 600; }

/* The name is taken off with the drop; this hides it while the file travels. */
.st-key-drop [data-testid="stFileChips"],
.st-key-drop [data-testid="stFileChip"],
.st-key-drop [data-testid="stFileUploaderFile"] { display: none; }
.st-key-drop [data-testid="stFileUploaderDropzone"] {
  padding: .4rem .8rem; min-height: 0; align-items: center;
}
.st-key-drop [data-testid="stFileUploaderDropzoneInstructions"] { display: none; }
.st-key-drop [data-testid="stFileUploaderDropzone"]::after {
  content: "or drop X-rays here: JPEG, PNG, TIFF, DICOM, ZIP";
  color: var(--soft-ink); font-size: .9rem; line-height: 1.3;
}
.st-key-drop { min-height: 52px; }
.st-key-examples button { padding-inline: .6rem; }
.st-key-examples { gap: .5rem; }

.st-key-busy:not(:has([data-testid="stSpinner"], [data-testid="stProgress"])) { display: none; }

/* Images on black, at one height, so that nothing jumps when the next one comes. */
.st-key-images [data-testid="stImageContainer"] img,
.st-key-image [data-testid="stImageContainer"] img {
  background: #000; object-fit: contain; width: 100% !important; height: min(36vh, 420px);
}
.st-key-images [data-testid="stFullScreenFrame"] { min-height: min(36vh, 420px); }
.st-key-images [data-testid="stFullScreenFrame"][aria-modal="true"] img { height: 100%; }
@media (max-width: 1024px) {
  .st-key-images [data-testid="stImageContainer"] img,
  .st-key-image [data-testid="stImageContainer"] img { height: min(45vh, 600px); }
  .st-key-images [data-testid="stFullScreenFrame"] { min-height: min(45vh, 600px); }
}
@media (max-width: 1024px) and (orientation: portrait) {
  .st-key-images [data-testid="stColumn"] { min-width: 100% !important; }
}
p.legend { margin: 0; font-size: .8rem; color: var(--soft-ink); }
p.legend span {
  display: inline-block; width: 90px; height: 10px; border: 1px solid var(--soft-ink);
}
</style>
"""
