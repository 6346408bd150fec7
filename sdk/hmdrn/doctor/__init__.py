"""`hmdrn doctor`: the hardware and software of a device, the use hmdrn makes of it, and advice."""
