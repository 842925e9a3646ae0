"""The load generator: prompts, arrivals, HTTP client, SSE reader, benchmark, SLO search.

What runs while a request is in flight must be cheap: it shares the machine with the server."""
