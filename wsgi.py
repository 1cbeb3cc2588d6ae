"""What gunicorn serves: `gunicorn wsgi:app`."""

import os

from gateway.app import create_app
from gateway.settings import load
from gateway.telemetry import logs

logs.configure()
app = create_app(load(os.environ))
