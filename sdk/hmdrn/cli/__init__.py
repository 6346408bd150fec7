"""The command line: `hmdrn <verb>`, and `hmdrn-export`."""
