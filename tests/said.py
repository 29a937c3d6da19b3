"""What a job's plan said, and what its log shows as done."""

from __future__ import annotations

from tasks.models import Job
from tasks.plan import JOB_NUMBER


def unsaid(job: Job) -> list[str]:
    """What was done and did not stand in the plan."""
    return sorted(done(job) - said(job))


def said(job: Job) -> set[str]:
    texts = (item.get("text") or item.get("diff", "") for step in job.plan for item in step["items"])
    return {line for text in texts for line in lines(text.replace(JOB_NUMBER, str(job.pk)))}


def done(job: Job) -> set[str]:
    return {line for event in job.events.filter(level="command") for line in lines(event.text)}


def lines(text: str) -> set[str]:
    """Without what is drawn when it is written: marker, canary, system identifier; and without the line numbers of a diff."""
    found = (line for line in text.splitlines() if line.strip() and not line.startswith("@@"))
    drawn = ("pgreplica.marker", "pgreplica.canary", "system_identifier")
    return {next((f"<{table}>" for table in drawn if table in line), line) for line in found}
