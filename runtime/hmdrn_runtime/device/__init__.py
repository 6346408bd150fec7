"""What a device is and how it is doing, read from the kernel's files; `root` lets tests record a tree."""
