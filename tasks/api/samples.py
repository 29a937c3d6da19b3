"""What the monitor has kept, for programs."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest
from ninja import Query, Router

from clusters.samples import MEASURES
from clusters.selectors import cluster_get
from tasks.api.auth import needs
from tasks.charts import SamplesShown, samples_of
from tasks.ranges import chosen_between, chosen_length

router = Router(tags=["clusters"])

MeasureName = Literal["lag_bytes", "lag_seconds", "wal_rate", "retained_bytes", "disk_free_bytes", "connections", "answers"]


@router.get("/clusters/{name}/samples", auth=needs("clusters.view_cluster"), response=SamplesShown)
def samples(
    request: HttpRequest,
    name: str,
    measure: MeasureName,
    begin: str = Query("", alias="from", max_length=40),  # type: ignore[type-arg]
    end: str = Query("", alias="to", max_length=40),  # type: ignore[type-arg]
) -> Any:
    """One measure of each instance over a time, in at most 750 buckets: the lowest and the highest of each, null where nothing is known.

    `from` and `to` in ISO 8601; without `to` until now, without both the last six hours.
    """
    chosen = chosen_between(begin, end) if begin or end else chosen_length("")
    return samples_of(cluster_get(name), MEASURES[measure], chosen)
