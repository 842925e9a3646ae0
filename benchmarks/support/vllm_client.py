"""The client of `vllm bench serve`, alone: its request function in a closed loop. Runs in vLLM's environment.

Arguments: server's address, requests, concurrency, prompt tokens, output tokens. Prints CPU-seconds, seconds and tokens
as JSON. The connector is as `vllm bench serve` makes it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import aiohttp
from vllm.benchmarks.lib.endpoint_request_func import (  # type: ignore[import-not-found]
    AIOHTTP_TIMEOUT,
    RequestFuncInput,
    async_request_openai_completions,
)


async def main() -> None:
    url, requests, concurrency, prompt_tokens, output_tokens = sys.argv[1], *map(int, sys.argv[2:6])
    connector = aiohttp.TCPConnector(
        limit=concurrency,
        limit_per_host=concurrency,
        ttl_dns_cache=300,
        use_dns_cache=True,
        keepalive_timeout=60,
        enable_cleanup_closed=True,
        force_close=False,
    )
    async with aiohttp.ClientSession(connector=connector, trust_env=True, timeout=AIOHTTP_TIMEOUT) as session:
        gate = asyncio.Semaphore(concurrency)

        async def ask(number: int) -> bool:
            prompt = list(range(number, number + prompt_tokens))
            call = RequestFuncInput(
                prompt=prompt,
                api_url=f"{url}/v1/completions",
                prompt_len=prompt_tokens,
                output_len=output_tokens,
                model="served",
                ignore_eos=True,
            )
            async with gate:
                output = await async_request_openai_completions(call, session)
            return bool(output.success)

        started, used = time.perf_counter(), time.process_time()
        good = await asyncio.gather(*(ask(number) for number in range(requests)))
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - used
    print(json.dumps({"cpu_seconds": cpu_seconds, "seconds": seconds, "tokens": sum(good) * output_tokens}))


if __name__ == "__main__":
    asyncio.run(main())
