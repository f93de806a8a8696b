"""The command line: parses, builds a recipe, calls the pipeline."""
