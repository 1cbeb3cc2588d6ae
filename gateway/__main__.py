"""`python -m gateway` is `personalize-gateway`."""

import sys

from gateway.cli import main

sys.exit(main())
