"""Tables of the report with a button that copies them."""

from __future__ import annotations

from siftem.report.html import table_html as plain_table
from siftem.report.table import Table


def table_html(table: Table) -> str:
    """Return a table as in the report, with a button for the clipboard (see `Shortcuts`)."""
    return (
        f'<div class="copied-table">{plain_table(table)}'
        '<button type="button" class="copy">Copy</button></div>'
    )
