/**
 * Call the global function `pz`. Until the snippet has loaded, a stub keeps the calls for it, as the tag's own stub does.
 * Under server-side rendering there is no page, and nothing to do.
 */
export function call(...words) {
  if (typeof window === 'undefined') return;
  // Bundlers replace the condition, so that nothing of it is left in a production build.
  if (process.env.NODE_ENV !== 'production') import('./misuse.js').then(({ check }) => check(words));
  window.pz ||= function pz() {
    (pz.q ||= []).push(arguments);
  };
  window.pz(...words);
}
