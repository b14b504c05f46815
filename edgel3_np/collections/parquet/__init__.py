"""Embeddings as a table of Parquet files: many recordings in each, in parts that a second run goes on with."""
