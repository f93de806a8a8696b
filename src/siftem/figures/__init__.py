"""Results to matplotlib figures: the only home of matplotlib."""
