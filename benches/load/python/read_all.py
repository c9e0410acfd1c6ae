"""Reads every column of every row of some Parquet files with DuckDB and says how long that took: a hash of each value is
added up, so that no column can be skipped. Answers one line for each line on its standard input."""

import json
import sys
import time

import duckdb

order = json.loads(sys.stdin.readline())
connection = duckdb.connect()
connection.execute(f"SET threads = {order['threads']}")
print(json.dumps({"version": duckdb.__version__}), flush=True)
for _ in sys.stdin:
    started, rows = time.perf_counter(), 0
    for files in order["tables"]:
        columns = [row[0] for row in connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [files]).fetchall()]
        sums = ", ".join(f'sum(hash("{column}"))' for column in columns)
        rows += connection.execute(f"SELECT count(*), {sums} FROM read_parquet(?)", [files]).fetchone()[0]
    print(json.dumps({"elapsed_s": time.perf_counter() - started, "rows": rows}), flush=True)
