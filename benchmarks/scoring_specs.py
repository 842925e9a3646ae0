"""What both sides of `benchmarks.scoring` score: about 200 items a line, each line by itself."""

from evals.tasks import TaskSpec

LINES = {
    "ARC-Challenge": (TaskSpec("arc_challenge", 200),),
    "HellaSwag": (TaskSpec("hellaswag", 200),),
    "MMLU, 0-shot": (TaskSpec("mmlu", 4),),
    "MMLU, 5-shot, 57 subjects": (TaskSpec("mmlu", 4, 5),),
    "MMLU, 5-shot, 2 subjects": (TaskSpec("mmlu_college_biology", 100, 5), TaskSpec("mmlu_world_religions", 100, 5)),
}
WINDOW = 2048
THREADS = 2
