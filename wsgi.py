"""Create the application for gunicorn: `gunicorn wsgi:app`."""

import os

from gateway.app import create_app
from gateway.observability import logs
from gateway.settings import load

logs.configure()
app = create_app(load(os.environ))
