"""The graphs of a bundle: torch modules, tracing, rewriting."""
