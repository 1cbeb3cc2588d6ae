/*! Personalize Gateway */
/*
 * The snippet: static/pz.js and static/releases/pz.<hash>.js are built from this file by `make snippet`.
 * For browsers of 2020 and later; its calls, attributes and event types are described in pz.d.ts.
 *
 * What it promises:
 *   1. An event is on disk before track() returns, and leaves it only when the gateway has answered for it.
 *   2. The same event always bears the same eventId, however often it has to be sent.
 *   3. Events belong to the session in which they happened, however late they are sent.
 *   4. Without consent nothing is stored and nothing is sent; a page that is never shown sends nothing.
 *   5. The page never notices: nothing throws, blocks, delays a navigation or outgrows its share of storage.
 *
 * An event's life: track → record in localStorage → pump → pick → post → settle (forget it, or hold it for later).
 * The records are the truth: tabs and later pages share them, so nothing here trusts its own memory of what is left.
 *
 * In this order: storage · records · session · delivery · calls · capture (clicks, views, impressions, media) · start.
 */
((win, doc) => {
  'use strict';

  const LEASE = 3e4; // who sends a record has it to itself for this long
  const FRESH = 5e3; // a record not yet sent is its own page's for this long: the flush delay, with room
  const FLUSH = 2e3;
  const LONGEST = 3e5; // no wait is longer than this
  const DAY = 864e5;
  const QUOTA = 6e4; // browsers give a page 64 KiB of keepalive bodies in flight, other scripts' included
  const ENVELOPE = 1e3; // bytes of a body beside its events, at most
  const MOST_RECORDS = 200;
  const MOST_CHARACTERS = 131072;
  const MOST_EVENTS = 100; // in a body
  const MOST_SHOWN = 25; // in an impression
  const SHOWN = 1e3; // an item counts as seen after this long
  const REMEMBERED = 50; // items whose recommendation is remembered

  const tag = doc.currentScript || doc.querySelector('script[data-site]');
  const stub = win.pz;
  if (!tag || stub?.site) return;

  let { site, auto = '', consent = 'granted' } = tag.dataset;
  if (!site) return console.warn('pz: no data-site');
  const stateKey = 'pz:' + site;
  const prefix = stateKey + ':';
  const url = tag.src.replace(/static\/[^/]*$/, 'events'); // under whatever path the gateway stands

  const memory = {}; // what may not, or can't, be stored, by key
  const page = Math.random();

  let user, signature, debug;
  let serial = 0; // orders events of the same millisecond
  let fresh = 0; // events since the last pump
  let most = MOST_EVENTS; // events in a body; an answer that tells too little halves it
  let failures = 0;
  let rest = 0; // no request before this time
  let busy = 0; // until this time a request is in flight
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
    debug.call ? debug(step, e) : console.log('pz:', step, e.eventId, e)));

  // --- Storage: localStorage, or memory while there is no consent, and where that is blocked or full ---

  const disk = attempt(() => win.localStorage);

  const read = (key) => memory[key] || attempt(() => disk.getItem(key));

  const write = (key, text) => {
    if (consent === 'denied') return;
    memory[key] = text;
    if (consent === 'granted') attempt(() => {
      disk.setItem(key, text);
      delete memory[key];
    });
  };

  const erase = (key) => {
    delete memory[key];
    attempt(() => disk.removeItem(key));
  };

  const keys = () => [...new Set([...Object.keys(memory), ...(attempt(() => Object.keys(disk)) || [])])]
    .filter((key) => key.startsWith(prefix));

  // --- Records: {e: the event, u and s: user and signature, t: its session, n: serial, l: lease} ---

  const save = (record) => write(prefix + record.e.eventId, JSON.stringify(record));

  const forget = (record) => erase(prefix + record.e.eventId);

  const drop = (record) => {
    forget(record);
    pz.dropped++;
    warn('dropped', record.e);
    tell('dropped', [record]);
  };

  // All records, oldest first. What is too old or too much goes: the host page's storage is not ours to fill. Only
  // before an outage may a burst take more of it, for the moment that it needs to get through.
  const load = () => {
    const room = failures > 1 ? MOST_CHARACTERS : MOST_CHARACTERS * 4; // one failure is no outage
    let size = 0;
    return keys()
      .map((key) => attempt(() => JSON.parse(read(key))) || erase(key))
      .filter((record) => record?.e)
      .sort((a, b) => b.e.sentAt - a.e.sentAt || b.n - a.n)
      .filter((record, count) => {
        const more = size + JSON.stringify(record).length;
        if (count >= MOST_RECORDS || more > room || Date.now() - record.e.sentAt * 1e3 > DAY) return drop(record);
        return (size = more);
      })
      .reverse();
  };

  // Holds records until a time; `by` this page: it may take them earlier.
  const hold = (records, l, by) => records.forEach((record) => save(Object.assign(record, { l, by })));

  // A lease far in the future is a clock that was set back, not a lease.
  const free = ({ l, by }) => by === page || l <= Date.now() || l > Date.now() + LONGEST;

  // --- Session: {t: what stands for it, s: a secret, k: [item, recommendation, when] of those that led to a click} ---

  // A session goes by the gateway's signed tag. Before there is one it goes by nothing, and after a reset by its time.
  // Other scripts may have written there: what it can't be counts for nothing.
  const state = () => attempt(() => {
    const { t, s, k = [] } = JSON.parse(read(stateKey)) || {};
    return { t, s, k: k.filter(Array.isArray) };
  }) || { k: [] };
  const remember = (changes) => write(stateKey, JSON.stringify({ ...state(), ...changes }));

  // The gateway has named the session of this batch: so are called now the page's session and what waits in it.
  const adopt = (session, [{ t, e }]) => {
    const same = (t + '').startsWith(session.split('.')[0]);
    const { t: now, k } = state();
    if (now === t) remember({ t: session, k: k.filter((one) => same || one[2] >= e.sentAt) });
    load().forEach((record) => {
      if (record.t === t && record.e.sentAt >= e.sentAt) save({ ...record, t: session });
    });
  };

  // --- Delivery ---

  const keepalives = attempt(() => 'keepalive' in Request.prototype);

  // The next body: records in order, of one user and session. While a session has no tag, each body starts with its
  // first event, even if that is on its way, or was nobody's yet: from that the gateway derives the session's ID, so
  // they all meet in one.
  const pick = (room) => {
    const all = load();
    const waiting = all.filter(free);
    if (consent !== 'granted' || !waiting[0]) return;
    const { t, u, s } = waiting[0];
    const alike = (record) => record.t === t && record.u === u && record.s === s;
    const reset = t > 0;
    const session = reset ? undefined : t;
    const seed = session || all.find((record) => record.t === t);
    const body = { trackingId: site, userId: u, signature: s, clientTime: Date.now() / 1e3, session, reset, eventList: [] };
    const batch = [];
    let size = ENVELOPE;
    for (const record of all.filter((one) => (one === seed ? alike(one) || !one.u : alike(one) && free(one)))) {
      const more = new Blob([JSON.stringify(record.e)]).size + 1; // UTF-8, which is what the quota counts
      if (batch.length >= most || (size + more > room && (batch.length || room < QUOTA))) break;
      size += more;
      batch.push(record);
      body.eventList.push(record.e);
    }
    again = waiting.some((record) => !batch.includes(record));
    return batch.some(free) && [batch, size, JSON.stringify(body)];
  };

  const settle = (batch, status, answer, retryAfter, reason) => {
    const now = Date.now();
    const stored = status === 204 || answer.accepted; // a 200 of a proxy's own page is none of the gateway's
    const unfit = /400|413/.test(status);
    const slip = /403|404/.test(status);
    if (stored || (unfit && (batch.length < 2 || answer.errors?.eventList))) {
      const refused = batch.filter((_, at) => !stored || answer.rejected?.some(({ index }) => index === at));
      if (refused.length) warn('refused', refused.map(({ e }) => e), answer);
      failures = rest = 0;
      most = Math.min(MOST_EVENTS, most * 2);
      batch.forEach(forget);
      tell('refused', refused);
      tell(reason || 'accepted', batch.filter((record) => !refused.includes(record)));
    } else {
      // 403 and 404 are an operator's slip, mended in hours: nothing is lost, and nothing hurries.
      if (slip) warn(status, answer);
      if (unfit) most = Math.ceil(batch.length / 2);
      const backOff = 1e3 * 2 ** failures++ * (0.5 + Math.random());
      rest = now + (unfit ? 0 : Math.min(LONGEST, slip ? LONGEST : Math.max(retryAfter, backOff)));
      batch = batch.filter(({ e }) => read(prefix + e.eventId)); // others may have delivered some of it meanwhile
      hold(batch, rest, page);
      tell('held', batch);
      again = true;
    }
    if (again) wake(rest - now);
  };

  const post = async (batch, size, body) => {
    const until = (busy = Date.now() + LEASE);
    const keepalive = keepalives && bytes + size <= QUOTA;
    if (!keepalive) size = 0;
    let status, reason;
    let retryAfter = 0;
    let answer = {};
    hold(batch, until);
    tell('sent', batch);
    bytes += size;
    try {
      // A string goes out as text/plain, which needs no preflight.
      const response = await fetch(url, { method: 'POST', body, credentials: 'include', keepalive });
      const header = (named) => response.headers.get(named);
      const wait = header('Retry-After');
      const session = header('X-Gateway-Session');
      status = response.status;
      retryAfter = wait * 1e3 || Date.parse(wait) - Date.now() || 0;
      reason = header('X-Gateway-Reason');
      if (session) adopt(session, batch);
      answer = (await response.json()) || answer;
    } catch (error) {
      // No answer, or one without JSON: the status, or its absence, says what to do.
    }
    bytes -= size;
    if (busy === until) busy = 0;
    attempt(() => settle(batch, status, answer, retryAfter, reason));
  };

  // One request at a time. A request that never ends is given up with its lease.
  const pump = () => {
    timer = fresh = 0;
    const pause = Math.max(busy, rest) - Date.now();
    if (pause > 0 && pause <= LONGEST) { // else the clock was set back
      again = true;
      return wake(pause);
    }
    const next = pick(QUOTA);
    if (next) post(...next);
  };

  // The page may be going: everything goes at once, inside this handler. But a tab that is merely hidden keeps to what
  // the gateway asked for.
  const leave = (going) => {
    attempt(view);
    let next;
    while ((going || rest <= Date.now()) && (next = pick(keepalives ? QUOTA - bytes : QUOTA - 1))) {
      const [batch, , body] = next;
      if (keepalives) {
        post(...next);
      } else {
        // A beacon is never an answer: the records stay, and a later page asks again.
        hold(batch, Date.now() + LEASE);
        tell('sent', batch);
        if (!navigator.sendBeacon(url, body)) break;
      }
    }
  };

  const soon = (action, delay) => setTimeout(() => attempt(action), delay);

  const wake = (delay) => {
    const at = Date.now() + delay;
    if (timer && timerAt <= at) return;
    clearTimeout(timer);
    timerAt = at;
    timer = soon(pump, delay);
  };

  // --- Calls ---

  const text = (value) => String(value ?? '') || undefined;

  // A UUID that belongs to some words, random ones unless given. No cryptography: it need only keep out who sees none
  // of its values.
  const random = () => attempt(() => crypto.getRandomValues(new Uint32Array(9))) || [Math.random(), Math.random()];
  const newId = (words) => {
    const seed = (words || random()).join();
    return '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, (digit, hash) => {
      for (const letter of seed) {
        hash = Math.imul(hash ^ letter.codePointAt(), 0x9e3779b1);
        hash ^= hash >>> 15;
      }
      return (digit ^ ((hash >>> 28) & (15 >> (digit / 4)))).toString(16);
    });
  };

  // What a recommendation led to remembers it, to the purchase.
  const leadTo = (itemId, recommendationId, sentAt) => {
    const { k } = state();
    const known = k.find(([item]) => item === itemId);
    const leading = text(recommendationId || known?.[1]);
    if (itemId && leading) {
      remember({ k: [...k.filter((one) => one !== known), [itemId, leading, sentAt]].slice(-REMEMBERED) });
    }
    return leading;
  };

  // A thank-you page that is loaded again tracks the same purchase.
  const purchaseId = (order, itemId) => {
    const { s = newId() } = state();
    remember({ s });
    return newId([s, order, itemId, s]);
  };

  const track = (type, options) => {
    if (consent === 'denied') return;
    const { itemId, eventValue, properties, recommendationId, impression, eventId, orderId } = options || {};
    const now = Date.now();
    const sentAt = now / 1e3;
    const item = text(itemId);
    const order = orderId || properties?.orderId;
    const purchase = /^purchase$/i.test(type);
    const record = {
      e: {
        eventId: text(eventId) || (purchase && order ? purchaseId(order, item) : newId()),
        eventType: text(type),
        itemId: item,
        eventValue: text(eventValue) && +eventValue,
        properties,
        recommendationId: leadTo(item, recommendationId, sentAt),
        impression,
        sentAt,
      },
      // The user and the session of this moment: who logs in later did not do this.
      u: user,
      s: signature,
      t: state().t,
      n: serial++,
    };
    hold([record], now + FRESH, page);
    load();
    tell('queued', [record]);
    wake(purchase || ++fresh > 9 ? 0 : FLUSH);
  };

  const identify = (userId, options) => {
    user = text(userId);
    signature = user && text(options?.signature);
  };

  const calls = {
    track,
    identify,
    // Logging out ends the session too: the next event, on whichever page, tells the gateway.
    reset() {
      identify();
      write(stateKey, JSON.stringify({ t: Date.now() }));
    },
    consent(how) {
      consent = how;
      if (how === 'denied') [stateKey, ...keys()].forEach(erase);
      Object.keys(memory).forEach((key) => write(key, memory[key]));
      wake(0);
    },
    flush() {
      wake(0);
    },
    debug(on) {
      debug = on;
    },
  };

  const queue = stub?.q || [];
  const pz = (win.pz = (call, ...options) => {
    if (doc.prerendering) queue.push([call, ...options]);
    else attempt(() => (calls[call] ? calls[call](...options) : warn('unknown:', call)));
  });
  pz.site = site;
  pz.dropped = 0;

  // --- Capture ---

  const wants = (what) => auto.includes(what);

  // Item and recommendation may stand on an element or around it.
  const near = (element, name) => element.closest('[' + name + ']')?.getAttribute(name);
  const about = (element) => ({
    itemId: near(element, 'data-pz-item'), recommendationId: near(element, 'data-pz-rec'),
  });

  // The nearest element with data-pz-event speaks, else the nearest item.
  const clicked = ({ target }) => {
    const element = target.closest('[data-pz-event]') || (wants('click') && target.closest('body [data-pz-item]'));
    // A click on a label comes once more, on its control.
    if (!element || element.contains(target.closest('label,a,:enabled')?.control?.closest(':enabled'))) return;
    const { pzEvent, pzValue, pzImpression, pzProps } = element.dataset;
    track(pzEvent || 'click', {
      ...about(element),
      eventValue: pzValue,
      impression: pzImpression?.match(/[^\s,]+/g),
      properties: attempt(() => JSON.parse(pzProps || null)),
    });
  };

  // Views are told apart by their URL; an anchor inside the page is none, a router's is.
  let place;
  const view = () => {
    const here = location.href.replace(/#(?![!/]).*/, '');
    if (here === place) return;
    if (wants('page')) track('view', about(doc.body));
    place = here;
    counted.clear();
    watch();
  };

  // After the page's own handlers, which may still correct the URL or draw what it stands for.
  const turned = () => soon(view);

  const followHistory = () => {
    if (win.navigation?.currentEntry) return listen(navigation, 'currententrychange', turned);
    listen(win, 'popstate', turned);
    ['pushState', 'replaceState'].forEach((name) => {
      const original = history[name];
      history[name] = (...rest) => {
        turned();
        return original.apply(history, rest);
      };
    });
  };

  const inSight = new Map(); // by element: since when half of it is visible
  const counted = new Set(); // in this view

  // What has been seen for long enough, in one event for each recommendation.
  const count = () => {
    const shown = {};
    inSight.forEach((since, element) => {
      const { itemId, recommendationId = '' } = about(element);
      const once = recommendationId + ' ' + itemId;
      if (!itemId || Date.now() - since < SHOWN || counted.has(once)) return;
      counted.add(once);
      (shown[recommendationId] ||= []).push(itemId);
    });
    for (const recommendationId in shown) {
      while (shown[recommendationId][0]) {
        track('impression', { recommendationId, impression: shown[recommendationId].splice(0, MOST_SHOWN) });
      }
    }
  };
  const countSoon = () => soon(count, SHOWN + 50);

  const observer = wants('impression') && attempt(() => new IntersectionObserver((entries) => {
    entries.forEach(({ target, intersectionRatio }) =>
      (intersectionRatio < 0.5 ? inSight.delete(target) : inSight.set(target, Date.now())));
    countSoon();
  }, { threshold: 0.5 }));

  let scanning;
  const scan = () => {
    scanning = 0;
    doc.querySelectorAll('body [data-pz-item]').forEach((element) => observer.observe(element));
    countSoon();
  };

  // Anew for each view, and not while the page is hidden.
  const watch = () => {
    if (!observer) return;
    observer.disconnect();
    inSight.clear();
    if (!doc.hidden) scan();
  };

  const listen = (target, type, action) => target.addEventListener(type, (event) => {
    attempt(() => action(event));
  }, true);

  // --- Start: when the page is shown, so that one prerendered for nothing does nothing ---

  const start = () => {
    queue.forEach((call) => pz(...call));

    listen(doc, 'click', clicked);
    listen(doc, 'auxclick', (event) => event.button === 1 && clicked(event)); // a link into another tab
    listen(doc, 'visibilitychange', () => {
      if (doc.hidden) leave();
      else wake(0);
      watch();
    });
    listen(win, 'pagehide', () => leave(true));
    listen(win, 'pageshow', ({ persisted }) => {
      if (!persisted) return;
      place = 0;
      view();
      wake(0);
    });
    listen(win, 'online', () => {
      rest = 0;
      wake(0);
    });
    setInterval(() => wake(0), LEASE); // what other pages left behind, once its lease is over
    wake(FLUSH * (1 + Math.random())); // tabs restored together do not adopt together

    if (doc.readyState === 'loading') listen(doc, 'DOMContentLoaded', view);
    else view();
    if (auto) attempt(followHistory);
    if (observer) {
      new MutationObserver(() => {
        scanning ||= soon(scan, 500);
      }).observe(doc, {
        childList: true, subtree: true, attributeFilter: ['data-pz-item', 'data-pz-rec'],
      });
    }
    // No script element, which Trusted Types would object to.
    if (wants('media')) import(tag.src.replace(/[^/]*$/, 'pz-media.js')).catch(warn);
  };

  if (doc.prerendering) listen(doc, 'prerenderingchange', start);
  else attempt(start);
})(window, document);
