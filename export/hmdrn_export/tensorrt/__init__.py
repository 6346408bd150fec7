"""Graphs to NVIDIA's engines, through whichever of its compilers is at hand.

The compiler's module (`tensorrt`, or `tensorrt_rtx`, which compiles with no GPU) is a parameter everywhere,
called `trt`: nothing here imports it. Variables that hold its objects have fixed names (builder, network,
config, parser, profile, layer, tensor, cache, error), so that a test can compare every name that is used
with the recorded API of each version. All but `check` runs on a device, with neither torch nor onnx.
"""
