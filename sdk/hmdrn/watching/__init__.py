"""Naming what a camera sees, for as long as it runs.

A source gives frames (`sources`, `captures`), a thread keeps the newest (`reader`), which is kept going when
the source fails (`feed`); a frame is answered (`looking`), its label smoothed (`smoothing`), and the loop
(`loop`) hands out results. What is done with these is apart: `events` and `mqtt`, `snapshots`, `overlay`.
"""

READING = "hmdrn-watch"
"""The name of the threads that read sources, some of which may hang in a driver."""
