"""Writing a bundle: manifest, shared weights, fingerprint, publication."""
