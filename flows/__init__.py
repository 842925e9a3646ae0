"""What runs when. The only place that imports Prefect."""
