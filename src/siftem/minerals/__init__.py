"""From compositions to minerals: structural formulas, names of phases, calibration by both."""
