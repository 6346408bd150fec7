"""Half-precision graphs: rules, conversion, and an executor that rounds to half."""
