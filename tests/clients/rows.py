"""Reads rows of calls back through the SQL API at $CONSOLE with $TOKEN."""

import json
import os
import time
import urllib.request


def query(sql: str) -> list[dict]:
    """The rows that a query gives."""
    request = urllib.request.Request(
        os.environ["CONSOLE"] + "/api/v1/sql?format=json",
        data=json.dumps({"query": sql}).encode(),
        headers={"authorization": "Bearer " + os.environ["TOKEN"], "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["rows"]


def row_of(interaction_id: str, within_seconds: float = 10.0) -> dict:
    """The row of a call, once it has one."""
    deadline = time.monotonic() + within_seconds
    while True:
        rows = query(f"select * from interactions where interaction_id = '{interaction_id}'")
        if rows:
            assert len(rows) == 1, rows
            return rows[0]
        assert time.monotonic() < deadline, f"no row for {interaction_id} within {within_seconds} s"
        time.sleep(0.05)
