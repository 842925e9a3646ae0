"""What follows from the samples of a load: steady state, throughput, SLO, energy.

One definition of each figure, used by page, console and files."""
