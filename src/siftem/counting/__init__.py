"""Whether the numbers of a map are counts, and what to do where they are not."""
