"""The command line's application and the arguments that commands share."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from flows.plan.changes import Changes
from quant.canonical_json import with_home
from quant.errors import program

app = typer.Typer(
    name="bitfrontier",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing what draws frames around the help takes longer than all else
    help="Measure which quantization of a language model to serve, in which engine, on this machine, for this load.",
    epilog=f"Start with: {program()} sweep quickstart",
)


NoPrefectServer = Annotated[
    bool, typer.Option("--no-prefect-server", help="Ignore PREFECT_API_URL: start a private server for this sweep.")
]


PlanArgument = Annotated[
    Path, typer.Argument(help="The plan: a YAML file, or the name of a sample plan such as quickstart.")
]


RunArgument = Annotated[Path, typer.Argument(help="A run's folder, such as runs/quickstart.")]


DataRoot = Annotated[
    str | None, typer.Option("--data-root", help="Folder with the evaluation data; replaces the plan's `data`.")
]


BundleFolder = Annotated[
    str | None,
    typer.Option("--bundle", metavar="FOLDER", help="Take all that is needed from this bundle, and nothing else."),
]


# bash does not expand the ~ of --runs=~/runs
Runs = Annotated[Path, typer.Option(help="Folder for results.", callback=lambda folder: with_home(str(folder)))]


Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a value of the plan, such as load[0].concurrency=8. Repeatable."
    ),
]


Only = Annotated[
    list[str] | None,
    typer.Option(help="Only cells whose names match this glob, such as 'gptq*', and their baselines. Repeatable."),
]


Exclude = Annotated[
    list[str] | None,
    typer.Option(
        help="Leave out cells whose names match this glob, such as '*vllm*'; needed baselines stay. Repeatable."
    ),
]


Minutes = Annotated[
    float | None, typer.Option(help="Time limit in minutes for the later rounds of a race, as --set race.minutes.")
]


def _share(value: float) -> float:
    """Of an option that is a share. Raises typer.BadParameter; NaN is none either."""
    if 0 < value < 1:
        return value
    raise typer.BadParameter(f"{value:g} is not a share between 0 and 1, such as 0.05 for 5 %")


SpeedMargin = Annotated[float, typer.Option(help="Slowdown that still passes, as a share.", callback=_share)]


Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def _or_before_the_command(context: typer.Context, verbose: bool) -> bool:
    return verbose or bool(context.obj)


Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print every detail.", callback=_or_before_the_command)]


def _print_version(asked: bool) -> None:
    if asked:
        print(metadata.version("bitfrontier"))
        raise typer.Exit


@app.callback()
def configure(
    context: typer.Context,
    verbosity: Annotated[
        int, typer.Option("--verbose", "-v", count=True, show_default=False, help="Log each step; -vv logs everything.")
    ] = 0,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    context.obj = verbosity
    if verbosity:
        from flows.state.run_log import log_to_console

        log_to_console(verbosity)


def changes_from(
    sets: list[str] | None, only: list[str] | None, exclude: list[str] | None, minutes: float | None
) -> Changes:
    """What these options change of a plan."""
    timed = () if minutes is None else (f"race.minutes={minutes:g}",)
    return Changes((*(sets or ()), *timed), tuple(only or ()), tuple(exclude or ()))
