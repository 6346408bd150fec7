"""Description and state of the device, read from the kernel's files under a root that tests can choose."""
