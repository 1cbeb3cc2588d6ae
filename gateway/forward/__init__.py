"""The forwarder end: holds the credentials, and only ever sends."""
