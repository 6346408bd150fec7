"""Export: a checkpoint to a verified bundle of ONNX graphs, and a bundle to engines.

Nothing is imported here: a device builds engines (`hmdrn_export.tensorrt`) without torch.
"""
