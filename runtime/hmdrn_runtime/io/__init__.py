"""Reading and writing files safely: atomic writes, locks, header limits, JSON documents."""
