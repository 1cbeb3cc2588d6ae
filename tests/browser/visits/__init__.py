"""Visits to a shop in real browsers, through a line that fails, with the gateway as the witness."""
