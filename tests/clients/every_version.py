"""Reads every version of the Delta table at $TABLE: none holds a row twice, and none lacks a row of the version before."""

import os

from deltalake import DeltaTable

ROW = ["writer", "epoch", "seq"]


def rows_of(version: int) -> set[tuple]:
    dataset = DeltaTable(os.environ["TABLE"], version=version).to_pyarrow_dataset()
    # One thread: pyarrow's others still hold the table's files when Python ends, which aborts (pyarrow 25 and 26).
    table = dataset.to_table(columns=ROW, use_threads=False)
    rows = set(zip(*(table.column(name).to_pylist() for name in ROW)))
    assert len(rows) == table.num_rows, f"version {version} holds {table.num_rows} rows, {len(rows)} different ones"
    return rows


newest = DeltaTable(os.environ["TABLE"]).version()
assert newest > 0, "nothing was ever committed"
before = rows_of(0)
assert not before, f"version 0 holds {len(before)} rows"
for version in range(1, newest + 1):
    rows = rows_of(version)
    missing = before - rows
    assert not missing, f"version {version} lacks {len(missing)} rows of version {version - 1}: {sorted(missing)[:3]}"
    before = rows
print(f"{newest + 1} versions read, {len(before)} rows in the newest")
