"""What `benchmarks.parity` and `benchmarks.scoring` score, by both sides."""

from evals.tasks import TaskSpec

PARITY = "parity"
LINES = {
    # about 200 requests each: four choices an item, one for LAMBADA
    PARITY: (
        TaskSpec("arc_easy", 50),
        TaskSpec("arc_challenge", 50),
        TaskSpec("hellaswag", 50),
        TaskSpec("mmlu", 1),
        TaskSpec("lambada_openai", 200),
    ),
    # about 200 items each, but for the last
    "ARC-Challenge": (TaskSpec("arc_challenge", 200),),
    "HellaSwag": (TaskSpec("hellaswag", 200),),
    "MMLU, 0-shot": (TaskSpec("mmlu", 4),),
    "MMLU, 5-shot": (TaskSpec("mmlu", 4, 5),),
    "MMLU, 5-shot, 2 × 30": (TaskSpec("mmlu_college_biology", 30, 5), TaskSpec("mmlu_world_religions", 30, 5)),
}
WINDOW = 2048
THREADS = 2
