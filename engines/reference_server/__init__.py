"""Our own server over HTTP, for libraries that have none: Transformers, DeepSpeed, OpenVINO GenAI, Triton's model.

Runs in an engine's environment: it imports nothing that is not installed there."""
