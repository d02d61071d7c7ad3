"""Logs read and written: the store, Parquet, CSV, dsjson."""
