"""Tables in csv and parquet files: read by a schema, checked against what must hold."""
