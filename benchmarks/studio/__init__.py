"""What viewers and idle hours of `hmdrn studio` cost."""
