"""PutEvents' wire format: what a valid request and a valid event are."""
