"""What `benchmarks.parity` and `benchmarks.scoring` score, by both sides."""

from evals.tasks.loaded_tasks import TaskSpec

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
    # about 200 items each; a whole set of MMLU has 246 a subject, so that four subjects show what sharing saves there
    "ARC-Challenge": (TaskSpec("arc_challenge", 200),),
    "HellaSwag": (TaskSpec("hellaswag", 200),),
    "MMLU, 0-shot": (TaskSpec("mmlu", 4),),
    "MMLU, 5-shot": (
        TaskSpec("mmlu_college_biology", 50, 5),
        TaskSpec("mmlu_world_religions", 50, 5),
        TaskSpec("mmlu_high_school_mathematics", 50, 5),
        TaskSpec("mmlu_professional_law", 50, 5),
    ),
    "MMLU, 5-shot, 57 × 4": (TaskSpec("mmlu", 4, 5),),
}
WINDOW = 2048
THREADS = 2
