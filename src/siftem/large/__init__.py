"""Maps that are larger than memory: counts in blocks, the sparse map file, images on disk, Dask."""
