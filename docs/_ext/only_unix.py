"""What of a command only Unix shells know: readers type commands in PowerShell, too."""

import re

#: What PowerShell takes for something else; lists with commas go in quotes.
ONLY_UNIX = re.compile(
    r"<<|&&|\|\||[|>]|\\$|\$\(|\$\w+:|^export |(?<![\w\"'.,])\w+,\w+", re.MULTILINE
)
