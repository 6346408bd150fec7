"""`hmdrn doctor`: what a device has, what the SDK would use of it, and what to do next."""
