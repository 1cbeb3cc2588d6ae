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
 * In this order: storage · records · session · delivery · other pages · calls · capture (clicks, views, impressions, media) · start.
 */
((win, doc) => {
  'use strict';

  const LEASE = 3e4; // who sends a record has it to itself for this long
  const FRESH = 5e3; // a record not yet sent is its own page's for this long: the flush delay, with room
  const FLUSH = 2e3;
  const ANSWER = 1500; // a living page answers within this time
  const LONGEST = 3e5; // no wait is longer than this
  const DAY = 864e5;
  const QUOTA = 6e4; // browsers give a page 64 KiB of keepalive bodies in flight, other scripts' included
  const ENVELOPE = 1e3; // bytes of a body beside its events, at most
  const MOST_RECORDS = 200;
  const MOST_CHARACTERS = 131072;
  const MOST_EVENTS = 100; // in a body
  const MOST_SHOWN = 25; // in an impression
  const SHOWN = 1e3; // an item counts as seen after this long
  const REMEMBERED = 50; // recommendations of items, and purchases
  const FOREVER = 9e9; // seconds

  const warn = (...words) => console.warn('pz:', ...words);

  const tag = doc.currentScript || doc.querySelector('script[data-site]');
  const stub = win.pz;
  if (!tag) return;

  let { site, auto = '', consent = 'granted' } = tag.dataset;
  if (!site) return warn('no data-site');
  if (stub?.site) return stub.site === site ? stub('flush') : warn('no second site on a page:', site);
  const stateKey = 'pz:' + site;
  const prefix = stateKey + ':';
  const url = tag.src.replace(/static\/[^/]*$/, 'events'); // under whatever path the gateway stands

  const memory = {}; // what may not, or can't, be stored, by key
  const stored = {}; // what this page has stored, by key, in case that the host page clears the storage
  const silent = {}; // by page: when it will have been asked in vain whether it lives
  const page = Math.random();

  let user, signature, debug;
  let serial = 0; // orders events of the same millisecond
  let fresh = 0; // events since the last pump
  let full = 0; // the part of a body that they fill
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

  // debug may be a function: it then gets each step of each event in place of the console.
  const tell = (step, records) => debug && records.forEach(({ e }) => attempt(() =>
    debug.call ? debug(step, e) : console.log('pz:', step, e.eventId, e)));

  // Prototype.js teaches arrays a toJSON that makes strings of them.
  const stringify = (value) => {
    const { toJSON } = Array.prototype;
    delete Array.prototype.toJSON;
    const json = attempt(() => JSON.stringify(value));
    if (toJSON) Array.prototype.toJSON = toJSON;
    return json;
  };

  // --- Storage: localStorage, or memory while there is no consent, and where that is blocked or full ---

  const disk = attempt(() => win.localStorage);

  const read = (key) => memory[key] || attempt(() => disk.getItem(key));

  const write = (key, text) => {
    if (consent === 'denied') return;
    memory[key] = text;
    if (consent === 'granted') attempt(() => {
      disk.setItem(key, text);
      stored[key] = text;
      delete memory[key];
    });
  };

  const erase = (key) => {
    delete memory[key];
    delete stored[key];
    attempt(() => disk.removeItem(key));
  };

  // Where the page's own state is gone from the storage, the host page has cleared it.
  const restore = () => attempt(() => {
    if (stored[stateKey] && !disk.getItem(stateKey)) Object.keys(stored).forEach((key) => write(key, stored[key]));
  });

  const keys = () => [...new Set([...Object.keys(memory), ...(attempt(() => Object.keys(disk)) || [])])]
    .filter((key) => key.startsWith(prefix));

  // --- Records: {e: the event, u and s: user and signature, t: its session, n: serial, l: leased until, by: the page
  // that leases it, w: whether it has been sent and not answered} ---

  const save = (record) => write(prefix + record.e.eventId, stringify(record));

  const find = (key) => attempt(() => JSON.parse(read(key)));

  const forget = (record) => erase(prefix + record.e.eventId);

  const drop = (record) => {
    forget(record);
    pz.dropped++;
    warn('dropped', record.e);
    tell('dropped', [record]);
  };

  // All records, oldest first. What is too old or too much goes: the host page's storage is not ours to fill. Only
  // before an outage may a burst take more of it, for the moment that it needs to get through. What is on its way
  // counts, and stays.
  const load = () => {
    const now = Date.now();
    const room = failures > 1 ? MOST_CHARACTERS : MOST_CHARACTERS * 4; // one failure is no outage
    const sent = ({ w, l }) => w > 0 && l > now;
    const order = (a, b) => a.e.sentAt - b.e.sentAt || a.n - b.n;
    let size = 0;
    let count = 0;
    restore();
    return keys()
      .map((key) => find(key) || erase(key))
      .filter((record) => record?.e)
      .sort((a, b) => sent(b) - sent(a) || order(b, a))
      .filter((record) => {
        const more = size + stringify(record).length;
        const excess = more > room || now - record.e.sentAt * 1e3 > DAY;
        if (!sent(record) && (count++ >= MOST_RECORDS || excess)) return drop(record);
        return (size = more);
      })
      .sort(order);
  };

  // Leases records to this page until a time. It may take them earlier, unless they have been sent.
  const hold = (records, l, w) => records.forEach((record) => save(Object.assign(record, { l, by: page, w })));

  // A lease far in the future is a clock that was set back, not a lease.
  const free = ({ l, by, w }) => {
    const now = Date.now();
    return l <= now || l > now + LONGEST || (by === page ? !w : silent[by] < now);
  };

  // --- Session: {t: what stands for it, n: the first one's name, k: what is to be recalled, [key, value, when]} ---

  // A session goes by the gateway's signed tag, which has dots. Before there is one it goes by a random name: the
  // browser's first one by `n`, on which tabs that start at once have agreed by the time they send; the one after a
  // reset by another. Other scripts may have written there: what it can't be counts for nothing.
  const state = () => {
    restore();
    return attempt(() => {
      const { t, n, k = [] } = JSON.parse(read(stateKey)) || {};
      return { t, n, k: k.filter(Array.isArray) };
    }) || { k: [] };
  };
  const remember = (changes) => write(stateKey, stringify({ ...state(), ...changes }));

  const firstName = () => {
    const { n = newId() } = state();
    remember({ n });
    return n;
  };

  const isTag = (t) => /\./.test(t);

  const listeners = []; // of who asked for the session
  const tellSession = () => listeners.forEach((listener) => listener());

  // The gateway has named the session of this batch: so are called now the page's session and what waits in it.
  const adopt = (session, [{ t, e }]) => {
    const same = (t + '').startsWith(session.split('.')[0]);
    const { t: now, n, k } = state();
    if ((now || n) === t) remember({ t: session, k: k.filter((one) => same || one[2] >= e.sentAt) });
    load().forEach((record) => {
      if ((record.t || n) === t && record.e.sentAt >= e.sentAt) save({ ...record, t: session });
    });
    tellSession();
  };

  // --- Delivery ---

  const keepalives = attempt(() => 'keepalive' in Request.prototype);

  // The next body: records in order, of one user and session.
  const pick = (room) => {
    const waiting = load().filter(free);
    if (consent !== 'granted' || !waiting[0]) return;
    const name = firstName();
    waiting.forEach((record) => {
      record.t ||= name;
    });
    const { t, u, s } = waiting[0];
    const body = {
      trackingId: site,
      userId: u,
      signature: s,
      clientTime: Date.now() / 1e3,
      [isTag(t) ? 'session' : 'newSession']: t,
      reset: !isTag(t) && t !== name,
      eventList: [],
    };
    const batch = [];
    let size = ENVELOPE;
    for (const record of waiting.filter((one) => one.t === t && one.u === u && one.s === s)) {
      const more = new Blob([stringify(record.e)]).size + 1; // UTF-8, which is what the quota counts
      if (batch.length >= most || (size + more > room && (batch.length || room < QUOTA))) break;
      size += more;
      batch.push(record);
      body.eventList.push(record.e);
    }
    again = batch.length < waiting.length;
    return batch[0] && [batch, size, stringify(body)];
  };

  const settle = (batch, until, status, answer, retryAfter, reason) => {
    const now = Date.now();
    // A 200 or a 400 of a proxy, or of a service worker, is none of the gateway's.
    const stored = status === 204 || answer.accepted;
    const unfit = /400|413/.test(status);
    const ours = unfit && answer.__type;
    const slip = /403|404/.test(status);
    if (stored || (ours && (batch.length < 2 || answer.errors?.eventList))) {
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
      if (rest <= now && !ours) failures++; // requests that were on their way at once fail once
      const backOff = 500 * 2 ** failures * (0.5 + Math.random());
      rest = now + (ours ? 0 : Math.min(LONGEST, slip ? LONGEST : Math.max(retryAfter, backOff)));
      // Others may have delivered some of it meanwhile, or sent it again.
      batch = batch.map(({ e }) => find(prefix + e.eventId)).filter((record) => record?.l === until);
      hold(batch, rest);
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
    hold(batch, until, 1);
    tell('sent', batch);
    bytes += size;
    try {
      // A string goes out as text/plain, which needs no preflight.
      const response = await fetch(url, { method: 'POST', body, credentials: 'include', keepalive });
      const header = (named) => response.headers.get(named);
      const session = header('X-Gateway-Session');
      status = response.status;
      retryAfter = header('Retry-After') * 1e3 || 0;
      reason = header('X-Gateway-Reason');
      if (session) adopt(session, batch);
      answer = (await response.json()) || answer;
    } catch (error) {
      // No answer, or one without JSON: the status, or its absence, says what to do.
    }
    bytes -= size;
    if (busy === until) busy = 0;
    attempt(() => settle(batch, until, status, answer, retryAfter, reason));
  };

  // One request at a time. A request that never ends is given up with its lease.
  const pump = () => {
    timer = fresh = full = 0;
    const pause = Math.max(busy, rest) - Date.now();
    if (pause > 0 && pause <= LONGEST) { // else the clock was set back
      again = true;
      return wake(pause);
    }
    const next = pick(QUOTA);
    if (next) post(...next);
  };

  // Everything at once, in this very task: the page may be going, or has so much to tell that a body is full. Only a
  // page that goes does so before the time that the gateway asked for.
  const drain = (going, full) => {
    let next;
    while ((going || rest <= Date.now()) && (next = pick(full ? QUOTA : keepalives ? QUOTA - bytes : QUOTA - 1))) {
      const [batch, , body] = next;
      if (keepalives || full) {
        post(...next);
      } else {
        // A beacon is never an answer: the records stay, and a later page asks again.
        hold(batch, Date.now() + LEASE, 1);
        tell('sent', batch);
        if (!navigator.sendBeacon(url, body)) break;
      }
    }
  };

  const leave = (going) => {
    attempt(view);
    drain(going);
  };

  const soon = (action, delay) => setTimeout(() => attempt(action), delay);

  const wake = (delay) => {
    const at = Date.now() + delay;
    hear();
    if (timer && timerAt <= at) return;
    clearTimeout(timer);
    timerAt = at;
    timer = soon(pump, delay);
  };

  // --- Other pages: what one that has gone leased is free at once, where a living one would have answered ---

  let channel;
  const meet = () => {
    channel = new BroadcastChannel(stateKey);
    channel.onmessage = ({ data }) => {
      if (data) delete silent[data];
      else channel.postMessage(page);
    };
    channel.postMessage(page);
  };

  const ask = () => {
    soon(() => wake(0), ANSWER * (1.1 + Math.random())); // tabs restored together do not adopt together
    load().forEach(({ by }) => {
      silent[by] ??= Date.now() + ANSWER;
    });
    channel.postMessage(0);
  };

  // A module beside the script. No script element, which Trusted Types would object to.
  const loadModule = (file) => import(tag.src.replace(/[^/]*$/, file)).catch(warn);

  // --- Calls ---

  const text = (value) => String(value ?? '') || undefined;

  const newId = () => '10000000-1000-4000-8000-100000000000'.replace(/[018]/g, (digit) =>
    (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16));

  // What belongs to a key: what is given now, or was given last.
  const recall = (key, given, when) => {
    const { k } = state();
    const known = k.find(([one]) => one === key);
    const value = text(given || known?.[1]);
    if (key && value) remember({ k: [...k.filter((one) => one !== known), [key, value, when]].slice(-REMEMBERED) });
    return value;
  };

  // A thank-you page that is loaded again tracks the same purchase.
  const purchaseId = (order, itemId) => {
    const key = 'purchase ' + [order, itemId];
    return recall(key, recall(key, 0, FOREVER) || newId(), FOREVER);
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
        recommendationId: recall(item, recommendationId, sentAt), // up to the purchase that it leads to
        impression,
        sentAt,
      },
      // The user and the session of this moment: who logs in later did not do this.
      u: user,
      s: signature,
      t: state().t,
      n: serial++,
    };
    hold([record], now + FRESH);
    load();
    tell('queued', [record]);
    wake(purchase || ++fresh > 9 ? 0 : FLUSH);
    full += 1 / MOST_EVENTS + stringify(record).length / QUOTA;
    if (full > 1) {
      full = 0;
      drain(0, 1);
    }
  };

  const identify = (userId, options) => {
    user = text(userId);
    signature = user && text(options?.signature);
    tellSession();
  };

  const calls = {
    track,
    identify,
    // Logging out ends the session too: the next event, on whichever page, tells the gateway.
    reset() {
      remember({ t: newId(), k: [] });
      identify();
    },
    consent(how) {
      consent = how;
      if (how === 'denied') [stateKey, ...keys()].forEach(erase);
      firstName();
      Object.keys(memory).forEach((key) => write(key, memory[key]));
      wake(0);
    },
    flush() {
      wake(0);
    },
    debug(on) {
      debug = on;
      // Warnings of misuse, which no other page loads.
      loadModule('npm/misuse.js').then((misuse) => misuse?.watch(on));
    },
    // Once the gateway has named it, and at each change.
    session(hear) {
      let told;
      const listener = () => {
        const { t } = state();
        const [sessionId] = (t || '').split('.');
        const now = sessionId + ' ' + user;
        if (isTag(t) && told !== now) attempt(() => hear({ sessionId, userId: user }));
        told = now;
      };
      listeners.push(listener);
      listener();
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

  // Item and recommendation may stand on an element or around it.
  const near = (element, name) => element.closest('[' + name + ']')?.getAttribute(name);
  const about = (element) => ({
    itemId: near(element, 'data-pz-item'), recommendationId: near(element, 'data-pz-rec'),
  });

  // The nearest element with data-pz-event speaks, else the nearest item.
  const clicked = ({ target }) => {
    let element = target.closest('[data-pz-event]');
    if (wants('click')) element ||= target.closest('body [data-pz-item]');
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

  // document.open() takes the listeners away; to add one again that is there changes nothing.
  const handlers = [];
  const listen = (target, type, action) => {
    const handler = (event) => attempt(() => action(event));
    handlers.push(() => target.addEventListener(type, handler, true));
  };
  const hear = () => handlers.forEach((add) => add());

  const wants = (what) => auto.includes(what);

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

  // A carousel may show another item in the same element, which then has to be seen as long.
  const changed = (mutations) => {
    mutations.forEach(({ target }) => inSight.has(target) && inSight.set(target, Date.now()));
    scanning ||= soon(scan, 500);
  };

  const startCapture = () => {
    if (doc.readyState === 'loading') listen(doc, 'DOMContentLoaded', view);
    else view();
    if (auto) attempt(followHistory);
    if (observer) {
      new MutationObserver(changed).observe(doc, {
        childList: true, subtree: true, attributeFilter: ['data-pz-item', 'data-pz-rec'],
      });
    }
    if (wants('media')) loadModule('pz-media.js');
  };

  // --- Start: when the page is shown, so that one prerendered for nothing does nothing ---

  const start = () => {
    firstName();
    queue.forEach((call) => pz(...call));

    listen(doc, 'click', clicked);
    listen(doc, 'auxclick', (event) => event.button === 1 && clicked(event)); // a link into another tab
    listen(doc, 'visibilitychange', () => {
      if (doc.hidden) leave();
      else wake(0);
      watch();
    });
    listen(win, 'pagehide', () => {
      leave(true);
      channel.close(); // open, it may keep the page out of the back/forward cache
    });
    listen(win, 'pageshow', ({ persisted }) => {
      if (!persisted) return;
      place = 0;
      view();
      meet();
      ask();
    });
    listen(win, 'online', () => {
      rest = 0;
      wake(0);
    });
    listen(win, 'storage', ({ key, newValue }) => { // another page has changed it
      if (!(key in stored)) return;
      if (newValue) stored[key] = newValue;
      else delete stored[key];
      if (key === stateKey) tellSession();
    });
    attempt(meet);
    attempt(ask);
    setInterval(() => attempt(ask), LEASE); // what other pages left behind
    startCapture();
    hear();
  };

  if (doc.prerendering) {
    listen(doc, 'prerenderingchange', start);
    hear();
  } else attempt(start);
})(window, document);
