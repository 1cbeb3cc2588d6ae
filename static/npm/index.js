/*
 * The npm package: typed functions around the global `pz`, whose script comes from the gateway. Snippet and gateway
 * are thus always of one release. The functions may be called at any time, before `init` and on the server too.
 */
import { call, warnOfMisuse } from './call.js';

export { debug } from './debug.js';

/** Load the snippet from the gateway, unless the page has it already. */
export function init(options) {
  if (typeof document === 'undefined') return;
  warnOfMisuse(['init', options]);
  const { gateway, site, script = 'pz.js', integrity, nonce, auto = [], consent } = options;
  if (window.pz?.site || [...document.scripts].some(({ dataset }) => dataset.site === site)) return;
  const tag = document.createElement('script');
  tag.src = `${gateway}`.replace(/\/*$/, `/static/${script}`);
  tag.dataset.site = site;
  tag.dataset.auto = [].concat(auto).join(' ');
  if (consent) tag.dataset.consent = consent;
  if (nonce) tag.nonce = nonce;
  if (integrity) {
    tag.integrity = integrity;
    tag.crossOrigin = 'anonymous';
  }
  document.head.append(tag);
}

export const track = (eventType, options) => call('track', eventType, options);

export const identify = (userId, options) => call('identify', userId, options);

export const reset = () => call('reset');

export const consent = (state) => call('consent', state);

export const flush = () => call('flush');

/** Hear of the session, now and on each change, until the returned function is called. */
export function session(callback) {
  let listening = true;
  call('session', (current) => {
    if (listening) callback(current);
  });
  return () => {
    listening = false;
  };
}
