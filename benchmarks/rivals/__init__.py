"""Classifying one photo among five species of five photos each: ours against what one would pick instead."""
