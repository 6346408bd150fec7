"""Measurements that are no tests; they run from a checkout."""
