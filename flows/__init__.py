"""Plans, validation, execution, Prefect, workers, the command line.

Only this package imports Prefect, and only `orchestration/` schedules."""
