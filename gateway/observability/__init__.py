"""What operators see: log, metrics, readiness and event history."""
