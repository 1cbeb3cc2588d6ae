"""Configure gunicorn: `serve` reads this file, gunicorn itself finds it in the working directory.

Command-line options win.
"""

import gc
import itertools
import logging
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
from gateway.sites import warn_of_anonymous_users
from gateway.strict_schema import SettingsError
from gateway.web import drop_credentials, open_files

FOLDER_PREFIX = "personalize-gateway-"
log = logging.getLogger("gateway")


def _workers():
    """Return the number of workers; exit with one line if PORT or WEB_CONCURRENCY is invalid."""
    try:
        return server_settings(os.environ)[1] or os.cpu_count() or 1
    except SettingsError as error:
        sys.exit(f"personalize-gateway: {error}")


wsgi_app = "gateway.wsgi:app"
worker_class = "gateway.web.worker.Worker"  # gevent; sync and gthread work too, behind a proxy
workers = _workers()
graceful_timeout = 10  # seconds; requests take milliseconds, idle connections are closed
keepalive = 75  # seconds; longer than the idle time-out of common load balancers
limit_request_fields = 64  # browsers send some 20, proxies add a handful
# GATEWAY_TRUSTED_PROXIES alone decides whose headers are believed.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers = {}
control_socket_disable = True
logger_class = "gateway.observability.gunicorn_log.Log"


def on_starting(server):
    """Exit with one line if a setting is invalid, before anything is bound or forked."""
    logs.configure()
    try:
        reloadable = ReloadableSettings(os.environ)
        require_secret_key(reloadable.settings)
    except SettingsError as error:
        logs.non_blocking(sys.stderr).drain()  # so that the reason comes last
        sys.exit(f"personalize-gateway: {error}")
    if warning := warn_of_anonymous_users(reloadable.sites):
        log.warning(warning)
    open_files.raise_limit()
    # The workers share this folder, so it belongs to the user that gunicorn runs them as.
    server.folder = tempfile.mkdtemp(prefix=FOLDER_PREFIX)
    if server.cfg.uid != os.geteuid():
        os.chown(server.folder, server.cfg.uid, server.cfg.gid)
    # Their counters are files, so that /metrics can sum them up. At SIGUSR2 gunicorn starts a new
    # master with `env_orig`, so the counters go on in the folder of the old one.
    counters = os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", server.folder)
    server.cfg.env_orig["PROMETHEUS_MULTIPROC_DIR"] = counters
    # A worker that can't boot halts gunicorn, so none reads a sites file that may be broken by
    # then. The server outlives a reload, which runs this file again.
    server.sites = SitesFileCopy(reloadable, Path(server.folder) / "sites.toml")
    # Other queues have forwarders that are started separately.
    server.has_local_queue = find_queue(reloadable.settings).capabilities.local
    starts_forwarder = reloadable.settings.forwarder == "auto" and server.has_local_queue
    server.supervisor = Supervisor(server.sites.environ) if starts_forwarder else None


def when_ready(server):
    """Start the forwarder beside the workers."""
    if server.supervisor:
        server.supervisor.start()


def on_reload(server):
    """Read the sites file again, if it is valid, before gunicorn replaces the workers."""
    server.sites.reread()
    if server.supervisor:
        server.supervisor.reload()


def pre_fork(server, worker):
    """Create the counters' folder again if it was deleted, and assign the worker a slot."""
    os.makedirs(os.environ["PROMETHEUS_MULTIPROC_DIR"], exist_ok=True)
    used = {other.slot for other in server.WORKERS.values()}
    worker.slot = next(number for number in itertools.count(1) if number not in used)


def post_fork(server, worker):
    """Let the worker continue the counters of its slot, and read the copy of the sites file.

    With a local queue it needs no AWS credentials; the forwarder gets them from the master.
    """
    if server.has_local_queue:
        drop_credentials.drop_credentials()
    os.environ.update(server.sites.environ())
    process_label.set_process_label(f"web-{worker.slot}")


def post_worker_init(worker):
    """Exempt what lives as long as the worker from garbage collection.

    Collecting it paused the worker for 20 to 30 ms every few thousand requests.
    """
    gc.collect()
    gc.freeze()


def worker_exit(server, worker):
    """Make everything collectable again, so that open files are closed at the end."""
    gc.unfreeze()


def on_exit(server):
    """Stop the forwarder, which first finishes the calls in flight, and remove the folders.

    The counters' folder stays if another master uses it (see SIGUSR2), or if it is not ours.
    """
    counters = os.environ["PROMETHEUS_MULTIPROC_DIR"]
    is_ours = os.path.basename(counters).startswith(FOLDER_PREFIX)
    if is_ours and not (server.reexec_pid or server.master_pid):
        shutil.rmtree(counters, ignore_errors=True)
    if server.folder != counters:
        shutil.rmtree(server.folder, ignore_errors=True)
    if server.supervisor:
        server.supervisor.stop()
