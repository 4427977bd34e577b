"""The section "Findings": what the audit of the dataset found."""

from pathlib import Path

import pandas as pd
import streamlit as st

from ui.common.errors import show_errors
from ui.common.text import as_markdown
from ui.dataset.gallery import show_thumbnails
from ui.dataset.source import Source
from xray_core.dataset.finding import SEVERITIES, Finding

_BADGES = dict(
    zip(
        SEVERITIES,
        (
            ("Serious", ":material/error:", "red"),
            ("Caution", ":material/warning:", "orange"),
            ("Note", ":material/info:", "blue"),
            ("Checked", ":material/check_circle:", "green"),
        ),
        strict=True,
    )
)
_THUMBNAILS = 12
_COLUMNS = {
    "share": st.column_config.NumberColumn(format="percent"),
    "auc": st.column_config.NumberColumn(format="%.3f"),
    "low": st.column_config.NumberColumn("95% from", format="%.3f"),
    "high": st.column_config.NumberColumn("95% to", format="%.3f"),
}


def show_findings(source: Source) -> None:
    """Draw the findings, the most serious first; each opens to its images or table."""
    counts = pd.Series([finding.severity for finding in source.findings]).value_counts()
    summary = [_count(severity, counts[severity]) for severity in SEVERITIES if severity in counts]
    st.caption(f"{', '.join(summary)}. Open a finding for details.")
    for finding in source.findings:
        _show_finding(finding, source.folder)


def _show_finding(finding: Finding, folder: Path | None) -> None:
    name, icon, badge_colour = _BADGES[finding.severity]
    expander = st.expander(
        f":{badge_colour}[**{name}**] · {as_markdown(finding.title)}",
        icon=icon,
        key=f"finding_{finding.key}",
        on_change="rerun",
    )
    if not expander.open:
        return
    with expander, show_errors():
        st.write(as_markdown(finding.why))
        rows = finding.rows
        if rows.empty:
            return
        if "path" in rows and folder:
            show_thumbnails(folder, _first_and_last(rows, _THUMBNAILS))
        st.dataframe(rows, hide_index=True, column_config=_COLUMNS)


def _count(severity: str, number: int) -> str:
    name = _BADGES[severity][0].lower()
    return f"{number} {name}{'s' if severity in ('caution', 'note') and number != 1 else ''}"


def _first_and_last(rows: pd.DataFrame, number: int) -> pd.DataFrame:
    """Return rows from both ends of an ordered table."""
    if len(rows) <= number:
        return rows
    return pd.concat([rows.head(number // 2), rows.tail(number - number // 2)])
