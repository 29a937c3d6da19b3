"""What the browser shows. Each view loads, asks one function, answers; nothing here touches a machine."""

from tasks.views.fleet import fleet_context

__all__ = ["fleet_context"]
