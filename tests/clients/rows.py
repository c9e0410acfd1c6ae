"""Reads the row of one call back through the SQL API."""

import json
import os
import time
import urllib.request


def row_of(interaction_id: str, within_seconds: float = 10.0) -> dict:
    """The row of a call, once it has one."""
    query = {"query": f"select * from interactions where interaction_id = '{interaction_id}'"}
    deadline = time.monotonic() + within_seconds
    while True:
        request = urllib.request.Request(
            os.environ["CONSOLE"] + "/api/v1/sql?format=json",
            data=json.dumps(query).encode(),
            headers={"authorization": "Bearer " + os.environ["TOKEN"], "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            rows = json.load(response)["rows"]
        if rows:
            assert len(rows) == 1, rows
            return rows[0]
        assert time.monotonic() < deadline, f"no row for {interaction_id} within {within_seconds} s"
        time.sleep(0.05)
