"""The original archives of the few-shot papers' data sets, into zips that `open_dataset` reads."""
