"""What a run records, and how it is kept: schema (what a record holds) <- journal (append, rotate) and reading,
<- tables (CSV, Parquet), summary, and the manifest of the run. Sinks make records, everything else reads them.
"""
