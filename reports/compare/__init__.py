"""One run against another, and against result files of other tools.

A reader of a new tool's file is one module and a line in `foreign`."""
