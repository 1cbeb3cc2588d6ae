"""Serve what is for operators alone: `/metrics` and `/inspect`, behind the admin token."""
