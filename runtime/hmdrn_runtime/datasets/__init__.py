"""Photos by class, in folders and zips."""
