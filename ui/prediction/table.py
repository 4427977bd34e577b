"""The results as a table for a spreadsheet."""

import csv
import io

from ui.prediction.cases import Case
from xray_core.prediction.screen import RESULT_COLUMNS, cell, result_cells


def table_csv(cases: list[Case], *, names: bool, pre_test: float | None = None) -> bytes:
    """Return the results as CSV, one row per image; with file names if `names`.

    With `pre_test`, a probability in (0, 1), each row states it and the post-test probability.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = ["image", *RESULT_COLUMNS]
    header += ["pre_test", "post_test"] if pre_test is not None else []
    writer.writerow([*header, "file"] if names else header)
    for case in cases:
        row = [case.number, *result_cells(case.prediction)]
        if pre_test is not None:
            after = case.prediction.post_test(pre_test)
            row += [pre_test, "" if after is None else round(after, 6)]
        writer.writerow([*row, cell(case.name)] if names else row)
    return text.getvalue().encode("utf-8-sig")
