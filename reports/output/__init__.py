"""The page, the terminal, CSV and parquet, exports, figures.

Text of models, data and logs is escaped here."""
