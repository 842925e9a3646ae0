"""Our thin OpenAI-compatible server, for libraries that ship none (Transformers; DeepSpeed may join).

Runs in an engine's environment: torch and transformers are there, the orchestrator's packages are not.
"""
