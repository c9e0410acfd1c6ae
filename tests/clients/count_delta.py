"""Prints how many rows the Delta table at $TABLE holds, or 0 while it has none."""

import os

from deltalake import DeltaTable

table = DeltaTable(os.environ["TABLE"])
print(sum(table.get_add_actions().to_struct_array().field("num_records").to_pylist()))
