"""INT8 ranges, sensitivity and thresholds. Empty until INT8 export lands: its place and its layer."""
