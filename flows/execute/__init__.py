"""The steps of a sweep as plain functions: prepare, keys, quantize, measure, score, save.

Nothing here knows of Prefect."""
