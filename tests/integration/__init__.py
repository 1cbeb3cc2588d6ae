"""Tests of real parts: processes, files, HTTP, SQS."""
