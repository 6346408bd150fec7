"""The gallery: enrolled species as statistics of their photos, in memory and on disk."""
