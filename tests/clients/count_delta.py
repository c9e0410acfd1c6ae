"""Prints how many rows the Delta table at $TABLE holds."""

import os

from deltalake import DeltaTable

print(DeltaTable(os.environ["TABLE"]).to_pyarrow_table(columns=["seq"]).num_rows)
