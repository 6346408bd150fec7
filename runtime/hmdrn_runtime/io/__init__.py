"""Reading and writing files safely: atomic writes, locks, bounded headers, JSON documents."""
