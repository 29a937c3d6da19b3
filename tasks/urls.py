from django.urls import path

from tasks import stream
from tasks.views import adoption, audit, board, clusters, fleet, history, jobs, registering, requests, schedules, servers

urlpatterns = [
    path("", fleet.home, name="home"),
    path("clusters/create/", requests.cluster_create, name="cluster-create"),
    path("clusters/<str:name>/", clusters.cluster_page, name="cluster-page"),
    path("clusters/<str:name>/board/", board.board_page, name="cluster-board"),
    path("clusters/<str:name>/schedules/", schedules.cluster_schedules_page, name="cluster-schedules"),
    path("clusters/<str:name>/verifications/", history.history_page, name="cluster-history"),
    path("clusters/<str:name>/<slug:act>/", requests.cluster_request, name="cluster-request"),
    path("clusters/<str:name>/<str:instance>/<slug:act>/", requests.instance_request, name="instance-request"),
    path("adopt/", adoption.adopt_page, name="adopt"),
    path("adopt/<int:job_id>/", adoption.adoption_page, name="adoption-report"),
    path("adopt/<int:job_id>/<str:system_identifier>/", requests.adopt_request, name="adopt-request"),
    path("schedules/", schedules.schedules_page, name="schedules"),
    path("servers/register/", registering.server_register_page, name="server-register"),
    path("servers/<str:name>/", servers.server_page, name="server-page"),
    path("servers/<str:name>/change/", registering.server_change_page, name="server-change"),
    path("servers/<str:name>/host-key/", registering.host_key_page, name="server-host-key"),
    path("servers/<str:name>/ssh-key/", registering.ssh_key_page, name="server-ssh-key"),
    path("servers/<str:name>/<slug:act>/", requests.server_request, name="server-request"),
    path("audit/verify/", audit.audit_verify_page, name="audit-verify"),
    path("jobs/<int:job_id>/", jobs.job_page, name="job-page"),
    path("jobs/<int:job_id>/runbook.sh", jobs.job_runbook_view, name="job-runbook"),
    path("jobs/<int:job_id>/cancel/", jobs.job_cancel_view, name="job-cancel"),
    path("jobs/<int:job_id>/resume/", jobs.job_resume_view, name="job-resume"),
    path("jobs/<int:job_id>/stream", stream.job_stream, name="job-stream"),
    path("jobs/<int:job_id>/events", stream.job_events, name="job-events"),
]
