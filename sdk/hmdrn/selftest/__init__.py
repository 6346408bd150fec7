"""`hmdrn selftest`: everything that hmdrn does on a device, tried and measured, in one report."""
