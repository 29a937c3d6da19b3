from django.urls import path

from tasks import stream

urlpatterns = [
    path("jobs/<int:job_id>/stream", stream.job_stream, name="job-stream"),
    path("jobs/<int:job_id>/events", stream.job_events, name="job-events"),
]
