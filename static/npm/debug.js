import { call } from './call.js';

/** Tell each step of each event, and each misuse of a call, until it is turned off. */
export function debug(on) {
  call('debug', on);
  if (typeof window !== 'undefined') import('./misuse.js').then(({ watch }) => watch(Boolean(on)));
}
