"""Instructions that stages of watching take on an emulated 64-bit ARM core."""
