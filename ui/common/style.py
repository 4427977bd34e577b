"""The style sheet of every page: colours, disclaimer, contrast, focus, narrow screens."""

STYLE = """
<style>
.stApp {
  --panel: light-dark(#f1f4f8, #1b2229);
  --ink: light-dark(#1b2430, #e8edf2);
  --soft-ink: light-dark(#4a5766, #b4c0cc);
  --line: light-dark(#c5ced8, #3a4652);
}
[data-testid="stHeader"] { height: 2.6rem; min-height: 2.6rem; }
[data-testid="stExpandSidebarButton"] { width: auto; }
[data-testid="stExpandSidebarButton"]::after { content: "Settings"; font-size: .875rem; }
[data-testid="stDialog"] [data-testid="stTable"] td p { overflow-wrap: anywhere; }
[data-testid="stMainBlockContainer"] { padding: 2rem 2rem 4.5rem; }
.st-key-disclaimer {
  position: fixed; left: 0; right: 0; bottom: 0; z-index: 1000000;
  width: 100% !important; padding: .35rem 1rem; align-items: center;
  background: var(--panel); border-top: 1px solid var(--line);
}
.st-key-disclaimer p {
  margin: 0; text-align: center; color: var(--ink); font-size: .85rem; line-height: 1.3;
}
.st-key-disclaimer [data-testid="stCaptionContainer"] { opacity: 1; margin: 0; }

/* Streamlit's own: 4.2 to 1 for captions, 2.4 to 1 for the labels of disabled widgets, and for
   primary buttons in the dark theme 2.2. Dialogs and popovers stand outside .stApp and have no
   colour scheme, but inherit the theme's ink: a button's text is its opposite, white or black. */
.stApp [data-testid="stCaptionContainer"] { color: light-dark(#4a5766, #b4c0cc); opacity: 1; }
.stApp [data-testid="stWidgetLabel"] p { color: light-dark(#1b2430, #e8edf2); }
.stApp [data-testid^="stBaseButton-primary"]:enabled { color: light-dark(#ffffff, #0f1317); }
.stApp [data-testid^="stBaseButton"]:disabled { color: light-dark(#5b6775, #94a1ae); }
:is([data-testid="stDialog"], [data-testid="stPopoverBody"]) [data-testid="stCaptionContainer"] {
  color: inherit;
}
[data-testid="stDialog"] [data-testid^="stBaseButton-primary"]:enabled {
  color: oklch(from currentColor calc((0.6 - l) * 999) 0 0);
}
.stApp :is([data-testid="stPopoverButton"], [data-testid="stBaseButton-tertiary"]):hover {
  color: light-dark(#0b5cad, #8cc8ff);
}

/* One ring for the keyboard's place: at least 3 to 1 against both themes' grounds. */
:is(a, button, summary, canvas, [tabindex]):focus-visible,
[role="group"]:has(> input:focus-visible),
label:has(input:focus-visible),
div:has(> div > input[type="range"]:focus-visible),
:is([data-testid="stTextInputRootElement"], [data-testid="stNumberInputContainer"]):has(
  input:focus-visible
) {
  outline: 3px solid #2f86d1 !important; outline-offset: 2px;
}
:is(main, canvas, summary, [data-testid="stSidebarNavLink"]):focus-visible {
  outline-offset: -3px;
}

/* For screen readers only. */
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
[data-testid="stElementContainer"]:has(.unseen) { position: absolute; width: 1px !important; }
/* With less room the sidebar has the links to the pages as well. */
@media (max-width: 767px) { [data-testid="stExpandSidebarButton"]::after { content: "Menu"; } }
@media (max-width: 640px) {
  [data-testid="stMainBlockContainer"] { padding: 3rem 1rem 6rem; }
  .st-key-disclaimer p { font-size: .75rem; }
}
</style>
"""

# Columns of the page become rows. Columns within a column, such as a row of controls, wrap. A table
# wider than the page scrolls on its own.
_STACKED = """
[data-testid="stHorizontalBlock"]:has(> [data-testid="stColumn"]) {
  flex-wrap: wrap; row-gap: 1rem;
}
[data-testid="stColumn"] { flex: 1 1 100%; width: 100%; min-width: 100%; }
[data-testid="stColumn"] [data-testid="stColumn"] {
  flex: 1 1 10rem; width: auto; min-width: min(10rem, 100%);
}
[data-testid="stMarkdownContainer"] table { display: block; overflow-x: auto; }
"""

# Where the page has at most 1024 pixels; the open sidebar takes 300 more.
STYLE += f"""
<style>
@media (max-width: 1024px) {{ body {{ {_STACKED} }} }}
@media (max-width: 1324px) {{
  body:has([data-testid="stSidebar"][data-collapsed="false"]) {{ {_STACKED} }}
}}
</style>
"""
