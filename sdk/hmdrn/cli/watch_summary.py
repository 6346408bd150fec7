"""Summary of `hmdrn watch` for people."""

from __future__ import annotations

from collections.abc import Iterator

from hmdrn.watching.summary import SpeciesCount, WatchSummary


def summary_facts(summary: WatchSummary) -> Iterator[tuple[str, str]]:
    """Yield names and values: counts of frames, latencies, species."""
    counts = f"{summary.read} read, {summary.classified} classified, {summary.dropped} dropped"
    others = {"without boxes": summary.skipped, "unreadable": summary.unreadable}
    yield "frames", ", ".join([counts, *(f"{count} {name}" for name, count in others.items() if count)])
    yield "seconds", f"{summary.seconds:.1f}"
    yield "latency, capture to answer", str(summary.latencies)
    yield "reconnects", str(summary.reconnects)
    lines = {"bad": summary.bad_lines, "late or overtaken": summary.unused_lines}
    if any(lines.values()):
        yield "lines of boxes", ", ".join(f"{count} {name}" for name, count in lines.items() if count)
    for label, count in sorted(summary.species.items()):
        yield label, _format_count(count)
    if summary.unknown.frames:
        yield "unknown", _format_count(summary.unknown)


def _format_count(count: SpeciesCount) -> str:
    frames, times = count.frames, count.times
    return f"{frames} frame{'s' * (frames != 1)}, seen {times} time{'s' * (times != 1)}"
