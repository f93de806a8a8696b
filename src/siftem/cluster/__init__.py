"""Maps larger than memory and more than one machine: the only home of dask besides io."""
