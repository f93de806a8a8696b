"""From spectra to compositions: line fit, k-factors, detection limits, minerals."""
