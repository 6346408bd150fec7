"""Classify what a camera, stream or video shows, for as long as it runs.

A source (`sources`, `captures`) is read by a thread that keeps the newest frame (`reader_thread`) and is
restarted on failure (`reconnecting_source`). Each frame is classified (`frame_classifier`), its labels are
smoothed (`tracker`, `smoothing`), and the loop (`watch`) yields results. Outputs are separate: `events`,
`mqtt`, `snapshots`, `overlay`.
"""
