"""Writes rows that are in memory as Parquet files, and says what that took: the processor time of this process, threads
included. `files` are read before; the properties are those of our own files, so that both write the same thing."""

import json
import resource
import sys
import time

import pyarrow
import pyarrow.parquet


def cpu_s():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


order = json.load(sys.stdin)
tables = []
for table in order["tables"]:
    # As plain columns: a dictionary that the reader kept would save the writer its work.
    rows = pyarrow.concat_tables([pyarrow.parquet.read_table(file, partitioning=None) for file in table["files"]])
    tables.append((table, rows.combine_chunks()))
rounds = []
for _ in range(order["rounds"]):
    before_cpu_s, before_s, size_bytes = cpu_s(), time.perf_counter(), 0
    for table, rows in tables:
        path = f"{order['folder']}/{table['name']}.parquet"
        pyarrow.parquet.write_table(
            rows,
            path,
            compression="zstd",
            compression_level=table["zstd_level"],
            row_group_size=table["row_group_rows"],
            use_dictionary=table["dictionary_columns"],
            write_statistics=table["statistics_columns"],
            data_page_size=1 << 20,
        )
    rounds.append({"cpu_s": cpu_s() - before_cpu_s, "elapsed_s": time.perf_counter() - before_s})
print(json.dumps({"version": pyarrow.__version__, "rows": [rows.num_rows for _, rows in tables], "rounds": rounds}))
