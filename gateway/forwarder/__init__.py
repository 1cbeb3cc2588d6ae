"""The forwarder end: holds the credentials, and only ever sends.

To be kept empty: gunicorn's master, whose workers face browsers, imports `supervisor` from here.
"""
