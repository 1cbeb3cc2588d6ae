"""What operators see: log, metrics, readiness and trail."""
