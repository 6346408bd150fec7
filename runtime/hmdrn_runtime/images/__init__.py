"""Photos into network inputs: decoding, preprocessing, quality."""
