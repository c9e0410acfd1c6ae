"""Prints how many rows the Delta table at $TABLE holds."""

import os

from deltalake import DeltaTable

# One thread: pyarrow's others still hold the table's files when Python ends, which aborts (pyarrow 25 and 26).
table = DeltaTable(os.environ["TABLE"]).to_pyarrow_dataset().to_table(columns=["seq"], use_threads=False)
print(table.num_rows)
