"""What gunicorn serves: `gunicorn wsgi:app`."""

import os

from gateway import logs
from gateway.app import create_app
from gateway.settings import load

logs.configure()
app = create_app(load(os.environ))
