"""Maps that are larger than memory: counts in blocks, images on disk, strips of lines."""
