"""How gunicorn serves the gateway: read by `serve`, or from the working directory.

Command-line options win.
"""

import gc
import itertools
import os
import shutil
import sys
import tempfile
from pathlib import Path

from gateway.forwarder.supervisor import Supervisor
from gateway.observability import logs, process_label
from gateway.queues.registry import find_queue
from gateway.reload import ReloadableSettings, SitesFileCopy
from gateway.settings import require_secret_key, server_settings
from gateway.strict_schema import SettingsError
from gateway.web import drop_credentials, open_files


def _workers():
    """Stop with one line where PORT or WEB_CONCURRENCY is wrong: gunicorn uses PORT next."""
    try:
        return server_settings(os.environ)[1] or os.cpu_count() or 1
    except SettingsError as error:
        sys.exit(f"personalize-gateway: {error}")


wsgi_app = "gateway.wsgi:app"
worker_class = "gateway.web.worker.Worker"  # gevent; sync and gthread work too, behind a proxy
workers = _workers()
graceful_timeout = 10  # requests take milliseconds; idle connections are kept no longer
keepalive = 75  # seconds; longer than the idle time-out of common load balancers
limit_request_fields = 64  # browsers send some 20, proxies add a handful
# GATEWAY_TRUSTED_PROXIES alone decides whose headers are believed.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers = {}
control_socket_disable = True
logger_class = "gateway.observability.gunicorn_log.Log"


def on_starting(server):
    """Stop with one line where a setting is wrong, before anything is bound or forked."""
    logs.configure()
    try:
        kept = ReloadableSettings(os.environ)
        require_secret_key(kept.settings)
    except SettingsError as error:
        logs.non_blocking(sys.stderr).drain()  # so that the reason comes last
        sys.exit(f"personalize-gateway: {error}")
    open_files.raise_limit()
    # What the workers share is in a folder of its own, also where gunicorn gives up root for them.
    server.folder = tempfile.mkdtemp(prefix="personalize-gateway-")
    if server.cfg.uid != os.geteuid():
        os.chown(server.folder, server.cfg.uid, server.cfg.gid)
    # Their counters are files, so that /metrics can sum them up.
    os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", server.folder)
    # A worker that can't boot halts gunicorn, so none reads a sites file that may be broken by
    # then. The server outlives a reload, which runs this file again.
    server.sites = SitesFileCopy(kept, Path(server.folder) / "sites.toml")
    # Other queues have forwarders that are started separately.
    server.has_local_queue = find_queue(kept.settings).capabilities.local
    beside = kept.settings.forwarder == "auto" and server.has_local_queue
    server.supervisor = Supervisor(server.sites.environ) if beside else None


def when_ready(server):
    """Start the forwarder beside the workers."""
    if server.supervisor:
        server.supervisor.start()


def on_reload(server):
    """Take over the sites file, if it is valid: for the workers, which are replaced next, too."""
    server.sites.reread()
    if server.supervisor:
        server.supervisor.reload()


def pre_fork(server, worker):
    """Make the counters' folder again, should somebody have tidied it away, and give out a slot."""
    os.makedirs(os.environ["PROMETHEUS_MULTIPROC_DIR"], exist_ok=True)
    taken = {other.slot for other in server.WORKERS.values()}
    worker.slot = next(number for number in itertools.count(1) if number not in taken)


def post_fork(server, worker):
    """Let the worker count on where an earlier one in its slot ended, and read the copy.

    It needs no AWS credentials where the queue is a file; the forwarder has them from the master.
    """
    if server.has_local_queue:
        drop_credentials.drop_credentials()
    os.environ.update(server.sites.environ())
    process_label.set_process_label(f"web-{worker.slot}")


def post_worker_init(worker):
    """Let the garbage collector leave alone what lives as long as the worker: it stops the world.

    That took 20 to 30 ms, every few thousand requests.
    """
    gc.collect()
    gc.freeze()


def worker_exit(server, worker):
    """Give it all back, so that what is open is closed at the end."""
    gc.unfreeze()


def on_exit(server):
    """End the forwarder, which finishes what is in flight first."""
    shutil.rmtree(server.folder, ignore_errors=True)
    if server.supervisor:
        server.supervisor.stop()
