"""The same pages into the same kind of database by dlt's ``rest_api`` source.

Runs in an environment of its own (``requirements-bench.lock``), with dlt's defaults, and
with the one thing a user would say: that the item's id is the primary key to merge by.
``python dlt_load.py DATABASE_URL VENDOR_URL SCRATCH_FOLDER``
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit


def credentials(database_url: str) -> dict[str, object]:
    """A PostgreSQL URL as dlt takes it: the socket's folder is its host, escaped as in a URL."""
    parts = urlsplit(database_url)
    return {
        "drivername": "postgresql",
        "username": parts.username or "postgres",
        "password": parts.password or "",
        "host": parts.hostname or quote(parse_qs(parts.query)["host"][0], safe=""),
        "port": parts.port or 5432,
        "database": parts.path.lstrip("/"),
    }


def source_config(vendor: str, disposition: str) -> Any:
    """The pages, as ``rest_api`` is told of them."""
    return {
        "client": {
            "base_url": vendor,
            "paginator": {"type": "json_link", "next_url_path": "links.next"},
        },
        "resource_defaults": {
            "primary_key": "happyReturnsItemID",
            "write_disposition": disposition,
        },
        "resources": [
            {
                "name": "return_items",
                "endpoint": {"path": "outbound-shipment/shp-1", "data_selector": "data"},
            }
        ],
    }


def processor() -> float:
    """Seconds of the processor, of this process and of those it waited for."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def main(database_url: str, vendor: str, scratch: str, disposition: str = "merge") -> None:
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"
    import dlt  # noqa: PLC0415 (reads its settings when imported)
    from dlt.sources.rest_api import rest_api_source  # noqa: PLC0415

    if database_url.startswith("sqlite"):
        destination = dlt.destinations.sqlalchemy(credentials=database_url)
    else:
        destination = dlt.destinations.postgres(credentials=credentials(database_url))
    source = rest_api_source(source_config(vendor, disposition))
    began, spent = time.perf_counter(), processor()
    pipeline = dlt.pipeline(
        "bench", destination=destination, dataset_name="bench", pipelines_dir=scratch
    )
    pipeline.run(source)
    total, busy = time.perf_counter() - began, processor() - spent
    with (
        pipeline.sql_client() as client,
        client.execute_query("SELECT count(*) FROM return_items") as cursor,
    ):
        rows = cursor.fetchone()[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"total": total, "processor": busy, "peak_mb": peak, "rows": rows}))


if __name__ == "__main__":
    main(*sys.argv[1:])
