/*
 * Warnings for developers, loaded by development builds, by `debug(true)`, and by `pz('debug', true)` of the script.
 */
const OPTIONS = {
  init: ['gateway', 'site', 'script', 'integrity', 'nonce', 'auto', 'consent'],
  track: ['itemId', 'eventValue', 'properties', 'recommendationId', 'impression', 'eventId', 'orderId', 'source'],
  identify: ['signature'],
};
const CALLS = ['init', 'track', 'identify', 'reset', 'consent', 'flush', 'session', 'debug', 'auto', 'seen'];
const REQUIRED = { init: ['gateway', 'site'], track: [], identify: [] };
const CONSENT = ['granted', 'denied', 'pending'];

const warned = new Set();

const letters = (name) => name.toLowerCase().replace(/[^a-z]/g, '');

function* problems([call, ...words]) {
  const [subject, options = {}] = call === 'init' ? [, ...words] : words;
  if (call === 'consent' && !CONSENT.includes(subject)) yield `"${subject}" is none of ${CONSENT.join(', ')}`;
  if (call === 'track' && !subject) yield 'an event needs a type: track("view", …)';
  if (call === 'auto' && !options.itemId) {
    yield `automatic ${subject} was not sent: Personalize learns nothing without an item, so put a data-pz-item around it`;
  }
  if (!CALLS.includes(call)) yield `unknown call; known are ${CALLS.join(', ')}`;
  if (!(call in OPTIONS)) return;
  for (const name of Object.keys(options ?? {})) {
    if (OPTIONS[call].includes(name)) continue;
    const meant = OPTIONS[call].find((known) => letters(known) === letters(name));
    yield `unknown option "${name}": ${meant ? `did you mean "${meant}"?` : `known are ${OPTIONS[call].join(', ')}`}`;
  }
  for (const name of REQUIRED[call]) if (!options?.[name]) yield `"${name}" is missing`;
  if (call !== 'track') return;
  const { itemId, properties, impression } = options ?? {};
  if (/^purchase$/i.test(subject) && !itemId) {
    yield 'a purchase needs an itemId, or Personalize learns nothing from it: track one event for each item';
  }
  if (impression?.length > 25) yield `an impression holds at most 25 items, and this one has ${impression.length}`;
  for (const [name, value] of Object.entries(typeof properties === 'object' ? (properties ?? {}) : {})) {
    if (typeof value === 'object' && value) yield `property "${name}" must be a string, a number or a boolean`;
  }
}

/** Warn of what is wrong with a call, once for each thing. */
export function check(words) {
  for (const problem of problems([...words])) {
    const text = `pz: ${words[0]}: ${problem}`;
    if (!warned.has(text)) console.warn(text);
    warned.add(text);
  }
}

let watching;

/** Check the calls that the stub keeps, and all later ones, however they are made. */
export function watch(on = true) {
  const first = watching === undefined;
  watching = on;
  if (!first) return;
  const checked = (pz) => pz && new Proxy(pz, {
    apply(target, self, words) {
      if (watching) check(words);
      return target(...words);
    },
  });
  [...(window.pz?.q ?? [])].forEach(check);
  // The page was viewed before anybody could watch.
  const tag = document.querySelector('script[data-site]');
  const { auto = '' } = tag?.dataset ?? {};
  if (auto && tag.src.includes('pz-core')) console.warn('pz: pz-core.js tracks nothing of itself: data-auto needs pz.js');
  if (auto.includes('page') && !document.body?.closest('[data-pz-item]')) check(['auto', 'view', {}]);
  let current = checked(window.pz);
  // The script replaces the stub.
  Object.defineProperty(window, 'pz', {
    configurable: true,
    enumerable: true,
    get: () => current,
    set: (pz) => {
      current = checked(pz);
    },
  });
}
