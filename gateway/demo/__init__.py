"""The demo shop of `make run`."""
