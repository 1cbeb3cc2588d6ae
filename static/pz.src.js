/*! Personalize Gateway */
/*
 * The snippet. static/pz.js is built from this file by `make snippet`.
 *
 * What it promises:
 *   1. An event is on disk before track() returns, and leaves it only when the gateway has answered for it.
 *   2. The same event always bears the same eventId, however often it has to be sent.
 *   3. The page never notices: nothing throws, blocks, delays a navigation or outgrows its share of storage.
 *
 * An event's life: track → record in localStorage → pump → pick → post → settle (forget it, or hold it for later).
 * The records are the truth: tabs and later pages share them, so nothing here trusts its own memory of what is left.
 */
((win, doc) => {
  'use strict';

  const LEASE = 3e4; // who sends a record has it to itself for this long
  const FRESH = 5e3; // a record not yet sent is its own page's for this long: the flush delay, with room
  const FLUSH = 2e3;
  const LONGEST = 3e5; // no wait is longer than this
  const DAY = 864e5;
  const QUOTA = 6e4; // browsers give a page 64 KiB of keepalive bodies in flight, other scripts' included
  const MOST_RECORDS = 200;
  const MOST_CHARACTERS = 131072;

  const tag = doc.currentScript || doc.querySelector('script[data-site]');
  const stub = win.pz;
  if (!tag || (stub && stub.site)) return;

  const site = tag.getAttribute('data-site');
  if (!site) return console.warn('pz: the script tag has no data-site');
  const prefix = 'pz:' + site + ':';
  const resetKey = 'pz:' + site;
  const url = tag.src.replace(/static\/[^/]*$/, 'events'); // under whatever path the gateway stands

  const memory = {}; // what storage would not take, by key
  const mine = {}; // by id: the lease under which this page holds a record that is not in flight

  let user, signature, debug;
  let serial = 0; // orders events of the same millisecond
  let fresh = 0; // events since the last pump
  let most = 100; // events in a body; a 413 halves it
  let failures = 0;
  let rest = 0; // no request before this time
  let unheard; // the last request had no answer at all
  let busy = 0; // until this time a request is in flight
  let answered; // a 2xx was seen: this visitor has a session
  let again; // something waits for the request in flight
  let bytes = 0; // keepalive bytes in flight
  let timer, timerAt;

  // Whatever goes wrong in here stays in here.
  const attempt = (action) => {
    try {
      return action();
    } catch (error) {
      if (debug) console.warn('pz:', error);
    }
  };
  const warn = (...words) => console.warn('pz:', ...words);

  // debug may be a function: it then gets each step of each event in place of the console.
  const tell = (step, records) => debug && records.forEach(({ e }) => attempt(() =>
    debug.call ? debug(step, e) : console.log('pz: ' + step, e.eventType, e.itemId || '', e.eventId)));

  // --- Records: localStorage, or memory where that is blocked or full ---

  const blocked = { getItem() {}, removeItem() {}, setItem() { throw blocked; } };
  const disk = attempt(() => win.localStorage) || blocked;

  const read = (key) => memory[key] || attempt(() => disk.getItem(key));

  const write = (key, text) => {
    try {
      disk.setItem(key, text);
      delete memory[key];
    } catch (error) {
      memory[key] = text;
    }
  };

  const erase = (key) => {
    delete memory[key];
    attempt(() => disk.removeItem(key));
  };

  const keys = () => [...new Set(Object.keys(memory).concat(Object.keys(disk)))]
    .filter((key) => key.startsWith(prefix));

  const forget = (record) => {
    delete mine[record.e.eventId];
    erase(prefix + record.e.eventId);
  };

  // All records, oldest first; what is too old or cannot be read goes.
  const load = () => keys().map((key) => {
    const record = attempt(() => JSON.parse(read(key)));
    if (record && record.e && Date.now() - record.e.sentAt * 1e3 < DAY) return record;
    erase(key);
  }).filter(Boolean).sort((a, b) => a.e.sentAt - b.e.sentAt || a.n - b.n);

  // The host page's storage is not ours to fill.
  const trim = () => {
    const all = keys();
    let count = all.length;
    let size = all.reduce((sum, key) => sum + (read(key) || '').length, 0);
    if (count <= MOST_RECORDS && size <= MOST_CHARACTERS) return;
    const dropped = [];
    for (const record of load()) {
      if (count <= MOST_RECORDS && size <= MOST_CHARACTERS) break;
      count--;
      size -= (read(prefix + record.e.eventId) || '').length;
      forget(record);
      dropped.push(record);
    }
    tell('dropped', dropped);
    warn('outbox full,', dropped.length, 'oldest dropped');
  };

  // Holds records until a time; keep: they are this page's, and may go earlier if the page does.
  const hold = (records, until, keep) => records.forEach((record) => {
    const id = record.e.eventId;
    record.l = until;
    if (keep) mine[id] = until;
    else delete mine[id];
    write(prefix + id, JSON.stringify(record));
  });

  // A lease far in the future is a clock that was set back, not a lease.
  const free = ({ l, e }, now) => mine[e.eventId] === l || l <= now || l > now + LONGEST;

  // --- Delivery ---

  const keepalives = attempt(() => 'keepalive' in Request.prototype);
  const octets = (text) => new Blob([text]).size; // UTF-8, which is what the quota counts

  // The next body: records in order, of one user, up to the next reset.
  const pick = (room) => {
    const now = Date.now();
    const waiting = load().filter((record) => free(record, now));
    const first = waiting[0];
    if (!first) return;
    const body = { trackingId: site, userId: first.u, signature: first.s, reset: first.r, eventList: [] };
    const batch = [];
    let size = octets(JSON.stringify(body));
    for (const record of waiting) {
      const more = octets(JSON.stringify(record.e)) + 1;
      if (record.u !== first.u || record.s !== first.s || (record.r && record !== first)) break;
      if (batch.length >= most || (size + more > room && (batch.length || room < QUOTA))) break;
      size += more;
      batch.push(record);
      body.eventList.push(record.e);
    }
    again = batch.length < waiting.length;
    return batch.length && { batch, size, text: JSON.stringify(body) };
  };

  const settle = (batch, status, answer, retryAfter) => {
    const now = Date.now();
    unheard = !status;
    if (status >= 200 && status < 300) {
      answered = true;
      failures = rest = 0;
      batch.forEach(forget);
      const refused = (answer.rejected || []).map(({ index, errors }) => {
        warn('refused', batch[index].e, errors);
        return batch[index];
      });
      tell('refused', refused);
      tell('accepted', batch.filter((record) => !refused.includes(record)));
    } else if (status === 400 || (status === 413 && batch.length < 2)) {
      warn('refused', batch.map(({ e }) => e), answer);
      batch.forEach(forget);
      tell('refused', batch);
    } else if (status === 413) {
      most = Math.ceil(batch.length / 2);
      hold(batch, now, true);
      again = true;
    } else {
      // 403 and 404 are an operator's slip, mended in hours: nothing is lost, and nothing hurries.
      const slip = status === 403 || status === 404;
      if (slip) warn('answer ' + status + ': is "' + site + '" a site of the gateway, with this origin?');
      const backOff = 1e3 * 2 ** failures++ * (0.5 + Math.random());
      rest = now + Math.min(LONGEST, slip ? LONGEST : Math.max(retryAfter, backOff));
      hold(batch, rest, true);
      tell('held', batch);
      again = true;
    }
    if (again) wake(rest - now);
  };

  const post = async ({ batch, size, text }) => {
    const until = (busy = Date.now() + LEASE);
    const keepalive = keepalives && bytes + size <= QUOTA;
    let status = 0;
    let answer = {};
    let retryAfter = 0;
    hold(batch, until);
    tell('sent', batch);
    if (keepalive) bytes += size;
    try {
      // A string goes out as text/plain, which needs no preflight.
      const response = await fetch(url, { method: 'POST', body: text, credentials: 'include', keepalive });
      status = response.status;
      const header = response.headers.get('Retry-After');
      retryAfter = header * 1e3 || Date.parse(header) - Date.now() || 0;
      answer = (await response.json()) || answer;
    } catch (error) {
      // No answer, or one without JSON: the status, or its absence, says what to do.
    }
    if (keepalive) bytes -= size;
    if (busy === until) busy = 0;
    attempt(() => settle(batch, status, answer, retryAfter));
  };

  // One request at a time. A request that never ends is given up with its lease.
  const pump = () => {
    clearTimeout(timer);
    timer = fresh = 0;
    const pause = Math.max(busy, rest) - Date.now();
    if (pause > 0) {
      again = true;
      return wake(pause);
    }
    const next = pick(QUOTA);
    if (next) post(next);
  };

  // The page may be going: everything goes at once, inside this handler. But a tab that is merely hidden keeps to what
  // the gateway asked for, and until a first answer has brought a session sends one request at a time, so that a new
  // visitor gets one session and not two.
  const leave = (going) => {
    for (;;) {
      const now = Date.now();
      if (!going && (rest > now || (busy > now && !answered))) break;
      const next = pick(keepalives ? QUOTA - bytes : QUOTA - 1);
      if (!next) break;
      if (keepalives) {
        post(next);
      } else {
        // A beacon is never an answer: the records stay, and a later page asks again.
        hold(next.batch, now + LEASE);
        tell('sent', next.batch);
        if (!navigator.sendBeacon(url, next.text)) break;
      }
    }
  };

  const wake = (delay) => {
    const at = Date.now() + delay;
    if (timer && timerAt <= at) return;
    clearTimeout(timer);
    timerAt = at;
    timer = setTimeout(() => attempt(pump), delay);
  };

  // --- Calls ---

  const text = (value) => (value == null || value === '' ? undefined : String(value));

  const newId = () => '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, (digit) =>
    (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16));

  const calls = {
    track(type, options) {
      const { itemId, eventValue, properties, recommendationId, impression, eventId } = options || {};
      const now = Date.now();
      const record = {
        e: {
          eventId: text(eventId) || newId(),
          eventType: text(type),
          itemId: text(itemId),
          eventValue: text(eventValue) && isFinite(eventValue) ? +eventValue : undefined,
          properties,
          recommendationId: text(recommendationId),
          impression,
          sentAt: now / 1e3,
        },
        // The user of this moment: who logs in later did not do this.
        u: user,
        s: signature,
        r: read(resetKey) ? true : undefined,
        n: serial++,
      };
      if (!record.e.eventType) return warn('track needs an event type');
      hold([record], now + FRESH, true);
      erase(resetKey);
      trim();
      tell('queued', [record]);
      wake(type === 'purchase' || ++fresh > 9 ? 0 : FLUSH);
    },
    identify(userId, options) {
      user = text(userId);
      signature = user && text((options || {}).signature);
    },
    // Logging out ends the session too: the next event, on whichever page, tells the gateway.
    reset() {
      calls.identify();
      write(resetKey, '1');
    },
    flush() {
      wake(0);
    },
    debug(on) {
      debug = on;
    },
  };

  const pz = (win.pz = (name, ...rest) => attempt(() =>
    Object.hasOwnProperty.call(calls, name) ? calls[name](...rest) : warn('no such call:', name)));
  pz.site = site;

  // --- Capture ---

  // The nearest element with data-pz-event speaks; item and recommendation may stand on its ancestors.
  const clicked = ({ target }) => {
    const element = target.closest && target.closest('[data-pz-event]');
    if (!element) return;
    const own = (name) => element.getAttribute('data-pz-' + name);
    const near = (name) => {
      const holder = element.closest('[data-pz-' + name + ']');
      return holder && holder.getAttribute('data-pz-' + name);
    };
    const impression = text(own('impression'));
    pz('track', own('event'), {
      itemId: near('item'),
      eventValue: own('value'),
      recommendationId: near('rec'),
      impression: impression && impression.split(/[\s,]+/).filter(Boolean),
      properties: text(own('props')) && attempt(() => JSON.parse(own('props'))),
    });
  };

  const listen = (target, type, action) => target.addEventListener(type, (event) => {
    attempt(() => action(event));
  }, true);

  listen(doc, 'click', clicked);
  listen(doc, 'visibilitychange', () => (doc.visibilityState === 'hidden' ? leave() : wake(0)));
  listen(win, 'pagehide', () => leave(true));
  listen(win, 'pageshow', () => wake(0));
  listen(win, 'online', () => {
    if (unheard) rest = 0;
    wake(0);
  });
  setInterval(() => wake(0), LEASE); // what other pages left behind, once its lease is over

  ((stub && stub.q) || []).forEach((call) => pz(...call));
  wake(FLUSH * (1 + Math.random())); // tabs restored together do not adopt together
})(window, document);
