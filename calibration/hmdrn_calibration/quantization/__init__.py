"""INT8 graphs: activation ranges, Q/DQ placement, accuracy of the result."""
