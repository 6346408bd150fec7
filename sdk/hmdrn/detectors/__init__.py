"""Detectors of subjects in a frame: by motion before a static camera, or with a network in ONNX.

The public ones are `hmdrn.MotionDetector` and `hmdrn.OnnxDetector`; any `hmdrn.Detector` finds subjects.
"""
