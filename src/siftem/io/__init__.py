"""Files in and out: the only home of hyperspy and rosettasciio."""
