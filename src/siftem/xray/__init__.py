"""X-ray physics: lines, cross-sections, k-factors, detector, absorption, continuum."""
