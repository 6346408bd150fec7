"""TensorRT engines, built by whichever of NVIDIA's compilers is installed.

The compiler's module (`tensorrt`, or `tensorrt_rtx`, which needs no GPU) is a parameter called `trt`: nothing
here imports it. Variables for its objects have fixed names (builder, network, config, parser, profile, layer,
tensor, cache, error), so that a test can compare every name in use with the recorded API of each version. All
modules but `check` run on devices, without torch and onnx.
"""
