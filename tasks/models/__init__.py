"""What happens. Fields, constraints and small properties only: `tasks.services` requests, `tasks.runner` runs, `tasks.journal` logs."""

from tasks.models.alert import Alert, AlertChannel, AlertRule, Notification, Severity, Silence
from tasks.models.audit import AuditEntry
from tasks.models.job import Job, JobEvent, JobStep
from tasks.models.pulse import Pulse
from tasks.models.token import ApiToken

__all__ = [
    "Alert",
    "AlertChannel",
    "AlertRule",
    "ApiToken",
    "AuditEntry",
    "Job",
    "JobEvent",
    "JobStep",
    "Notification",
    "Pulse",
    "Severity",
    "Silence",
]
