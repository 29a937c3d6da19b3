"""The page on which the whole audit trail is computed again."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _

from tasks.audit import Verified, audit_verify
from tasks.views.frame import page, render


@page("tasks.view_auditentry")
def audit_verify_page(request: HttpRequest) -> HttpResponseBase:
    """It takes about a second for each 10,000 entries, so it is asked for, not shown beside the list."""
    found = audit_verify()
    return render(
        request,
        "tasks/audit_verify.html",
        title=_("Verify the audit trail"),
        crumbs=[(_("Fleet"), reverse("admin:index")), (_("Audit trail"), reverse("admin:tasks_auditentry_changelist"))],
        found=found,
        intact=isinstance(found, Verified),
    )
