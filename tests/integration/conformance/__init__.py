"""What `aws personalize-events put-events` and `personalize-gateway put-events` must agree on."""
