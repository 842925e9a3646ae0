"""Reading what was written: safetensors and GGUF headers, formats, tensor types, bits per weight.

Nothing here loads a model, but for `dequantize_gguf`, which runs in the environment `transformers`."""
