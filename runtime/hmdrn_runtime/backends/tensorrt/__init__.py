"""TensorRT: engines that `hmdrn build` made on this device, run through the tensor-name API.

TensorRT's module is a parameter everywhere, called `trt`: nothing here imports it. Variables that hold its
objects have fixed names (runtime, engine, context, inspector), so that a test can compare every name that is
used with the recorded API of each version.
"""
