"""Compares the Delta table at $TABLE, read by the package `deltalake`, with our own SQL's answer in $OURS, cell by cell."""

import os

import pyarrow as pa
from deltalake import DeltaTable

# One thread: pyarrow's others still hold the table's files when Python ends, which aborts (pyarrow 25 and 26).
theirs = DeltaTable(os.environ["TABLE"]).to_pyarrow_dataset().to_table(use_threads=False)
theirs = theirs.sort_by([("writer", "ascending"), ("epoch", "ascending"), ("seq", "ascending")])
with open(os.environ["OURS"], "rb") as file:
    ours = pa.ipc.open_stream(file).read_all()

assert ours.num_rows > 0, "nothing to compare"
assert ours.num_rows == theirs.num_rows, f"{ours.num_rows} rows in SQL, {theirs.num_rows} in deltalake"
assert sorted(ours.column_names) == sorted(theirs.column_names), set(ours.column_names) ^ set(theirs.column_names)
for name in ours.column_names:
    mine, other = ours.column(name).to_pylist(), theirs.column(name).to_pylist()
    for number, (left, right) in enumerate(zip(mine, other)):
        assert left == right, f"row {number}, column {name}: {left!r} in SQL, {right!r} in deltalake"
print(f"{ours.num_rows} rows and {ours.num_columns} columns agree")
