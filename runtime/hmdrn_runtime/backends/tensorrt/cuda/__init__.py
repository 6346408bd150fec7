"""Device memory, streams and graphs through cuda-python or pycuda."""
