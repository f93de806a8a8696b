"""One recipe over many maps: resumable, shared out to workers, with one table and one report."""
