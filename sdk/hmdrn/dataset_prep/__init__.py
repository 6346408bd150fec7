"""Prepare the original archives of the few-shot papers' data sets as zips that `open_dataset` reads."""
