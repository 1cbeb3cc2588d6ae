"""Random and long runs, short in the suite."""
