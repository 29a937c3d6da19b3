"""The admin's lists: what exists and what happened, to look at; users, groups, tokens and schedules, to manage.

Only `tasks.services` and `clusters.services` change clusters and jobs, so their lists are read-only.
"""

from tasks.admin import access, happened, schedules, things

__all__ = ["access", "happened", "schedules", "things"]
