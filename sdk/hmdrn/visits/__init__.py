"""The diary: every visit with its pictures in one SQLite file, and the corrections that a user makes."""
