"""Enrollments as jobs."""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import Response

from hmdrn.studio.enrollment import EnrollmentBatch
from hmdrn.studio.jobs import JobProgress
from hmdrn.studio.requests import Notices
from hmdrn.studio.session import StudioSession

_PAGE = "/enroll"


def run_enrollment(
    session: StudioSession, notices: Notices, work: Callable[[JobProgress], EnrollmentBatch], what: str
) -> Response:
    """Enroll as a job, and lead to its result, or to its progress if it takes long.

    Args:
        session: The studio.
        notices: Receives the result in words.
        work: Enrolls.
        what: Word for the pictures, e.g. "photos".
    """

    def enroll(progress: JobProgress) -> str:
        batch = work(progress)
        added = sum(len(report.added) for report in batch.reports)
        names = ", ".join(report.label for report in batch.reports)
        return f"{added} new {what} of {names}."

    text = session.jobs.run(f"Adding {what}", _PAGE, enroll, session.patience)
    return notices.redirect(_PAGE, text or "")
