"""Personalize Gateway: visitors' events from the browser to Amazon Personalize, durably."""

__version__ = "0.1.0"
