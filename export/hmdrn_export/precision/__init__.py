"""Half-precision graphs: rules, conversion, and an executor that really rounds."""
