"""The model bundle: graphs, weights and the manifest that describes them."""
