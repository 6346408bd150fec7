"""Calibration after training: INT8 graphs (`quantization`), and thresholds for unknowns (`open_set`).

Nothing is imported here: thresholds are fitted on devices, which have no onnx.
"""
