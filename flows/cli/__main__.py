"""`python -m flows.cli`, and the command `bitfrontier`."""

from __future__ import annotations

import flows.cli.bundling.command
import flows.cli.init_command
import flows.cli.listing
import flows.cli.model.command
import flows.cli.report_command
import flows.cli.serve.command  # noqa: F401 (registers its commands)
from flows.cli.commands import main

if __name__ == "__main__":
    main()
