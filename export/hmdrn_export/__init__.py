"""From a checkpoint to a bundle of ONNX graphs, verified; and from a bundle to engines.

Names are imported when they are used: a device builds engines (`hmdrn_export.tensorrt`) without torch.
"""
