"""The command: start the server, say how it is reached, wait for Ctrl-C."""

from __future__ import annotations

import signal
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.app import RunArgument, app
from flows.cli.sweep_command import console, errors, show_outside

POLL_SECONDS = 0.5


@app.command(short_help="Serve a run's recommended cell until Ctrl-C.")
def serve(
    folder: RunArgument,
    cell: Annotated[
        str | None, typer.Argument(help="A cell by its name in tables (default: the recommended one).")
    ] = None,
    context: Annotated[
        int | None, typer.Option(min=1, help="Tokens of the longest request with its answer (default: as measured).")
    ] = None,
) -> None:
    """Start the server of a run's recommended cell as the sweep did, on 127.0.0.1 with a key of its own.

    No sweep measures on its device at the same time. Programs of a run from another machine are not started. Ctrl-C
    stops the server.
    """
    from flows.cli.network_variables import check_network_variables
    from flows.cli.serve.served_cell import served
    from flows.state.progress_display import bars

    check_network_variables()
    # whoever ends this process, or closes its terminal, ends the server and the file with its key too
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` has it
            signal.signal(number, signal.default_int_handler)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bitfrontier-") as private,  # for this user alone (mode 700)
            bars(errors) as display,
            served(folder, cell, context, lambda plan: show_outside(plan, errors), display) as running,
        ):
            say_how(running, Path(private) / "key")
            while running.child.returncode is None:
                time.sleep(POLL_SECONDS)
            ending, log = running.child.ending, running.endpoint.log
            errors.print(f"error: the server ended with {ending}; its log is {log}", markup=False, highlight=False)
            raise typer.Exit(1)
    except KeyboardInterrupt:
        errors.print("stopped", highlight=False)


def say_how(running: Any, key_file: Path) -> None:
    """Print where it is reached, and the file with the key, which is on no line and in no file of the run."""
    from quant.canonical_json import write_whole

    lines = [f"{running.name} is served.", f"  base URL: {running.base_url}"]
    if running.wants_key:
        write_whole(key_file, running.endpoint.api_key)
        key_file.chmod(0o600)
        lines.append(f'  key:      export OPENAI_API_KEY="$(cat {key_file})"')
    else:
        lines.append("  key:      none: this engine requires no key, and every program of this machine can use it")
    lines += [
        f"  model:    {running.endpoint.dialect.model}",
        f"  context:  {running.context_tokens} tokens",
        f"  log:      {running.endpoint.log}",
        "Ctrl-C stops it.",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
