"""Detectors of subjects in a frame: by motion before a static camera, or with a network in ONNX."""
