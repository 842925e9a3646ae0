"""Bundles: all that a plan needs in one folder, collected where there is a network, swept from where there is none.

`contents` has the form of a bundle and its checks, `collect` makes one, `use` sweeps from it."""
