"""What is learned from photographs after training: INT8 graphs (`calibrating`), and thresholds.

Nothing is imported here: thresholds are for devices, which have no onnx.
"""
