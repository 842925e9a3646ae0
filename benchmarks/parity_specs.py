"""What both sides of `benchmarks.parity` score."""

from evals.tasks import TaskSpec

# about 200 requests each: four choices an item, one for LAMBADA
SPECS = (
    TaskSpec("arc_easy", 50),
    TaskSpec("arc_challenge", 50),
    TaskSpec("hellaswag", 50),
    TaskSpec("mmlu", 1),
    TaskSpec("lambada_openai", 200),
)
WINDOW = 2048
THREADS = 2
