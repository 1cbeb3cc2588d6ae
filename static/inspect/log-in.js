// The link that `make run` prints bears the token behind its #, which browsers send to nobody.
const token = new URLSearchParams(location.hash.slice(1)).get('token');
if (token) {
  history.replaceState(null, '', location.pathname + location.search);
  document.getElementById('token').value = token;
  document.getElementById('log-in').submit();
}
