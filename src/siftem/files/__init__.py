"""Files before anyone reads them, and while they are written."""
