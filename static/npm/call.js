/** Warn of misuse in development builds: bundlers replace the condition, and drop the rest in production builds. */
export function warnOfMisuse(words) {
  try {
    if (process.env.NODE_ENV !== 'production') import('./misuse.js').then(({ check }) => check(words));
  } catch {
    // No bundler replaced it: a browser has no `process`.
  }
}

/**
 * Call the global function `pz`. Until the snippet has loaded, a stub keeps the calls for it, as the tag's own stub does.
 * Under server-side rendering there is no page, and nothing to do.
 */
export function call(...words) {
  if (typeof window === 'undefined') return;
  warnOfMisuse(words);
  window.pz ||= function pz() {
    (pz.q ||= []).push(arguments);
  };
  window.pz(...words);
}
