"""Writing a bundle: manifest entries, shared weights, fingerprint, publication."""
