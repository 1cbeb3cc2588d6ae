/*
 * Personalize Gateway, the snippet: static/pz.js and static/releases/pz.<hash>.js are built from this file by
 * `make snippet`, and pz-core.js without what stands between <auto> and </auto>.
 * For browsers of 2020 and later; its calls, attributes and event types are described in pz.d.ts.
 *
 * What it promises:
 *   1. An event is on disk before track() returns, and leaves it only when the gateway has answered for it.
 *   2. The same event always bears the same eventId, however often it has to be sent.
 *   3. Events belong to the session in which they happened, however late they are sent.
 *   4. Without consent nothing is stored and nothing is sent; a page that is never shown sends nothing.
 *   5. The page never notices: nothing throws, blocks, delays a navigation or outgrows its share of storage.
 *
 * An event's life: track → record in localStorage → pump → send → post → finish it, or hold it for later.
 * The records are the truth: tabs and later pages share them, so nothing here trusts its own memory of what is left.
 *
 * In this order: storage · records · session · delivery · other pages · calls · capture (clicks, views, impressions,
 * media) · start.
 */
((win, doc) => {
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
  const MOST_SHOWN_CHARACTERS = 1e3; // in an impression, with the separators that Personalize puts between
  const SHOWN = 1e3; // an item counts as seen after this long
  const REMEMBERED = 50; // recommendations of items, and purchases
  const FOREVER = 9e9; // seconds

  const warn = (...words) => console.warn('pz:', ...words);

  const tag = doc.currentScript || doc.querySelector('script[data-site]');
  const stub = win.pz;
  if (!tag) return;

  let { site, auto = '', consent = 'granted' } = tag.dataset;
  if (!site) return warn('no site');
  if (stub?.site) return stub.site === site ? stub('flush') : warn('second site:', site);
  const stateKey = 'pz:' + site;
  const prefix = stateKey + ':';
  const folder = tag.src.replace(/[^/]*$/, ''); // under whatever path the gateway stands
  const url = folder + '../events';

  const memory = {}; // what may not, or can't, be stored, by key
  const stored = {}; // what this page has stored, by key, in case that the host page clears the storage
  const silent = {}; // by page: when it will have been asked in vain whether it lives
  const page = Math.random();

  let user, signature, debug;
  let serial = 0; // orders events of the same millisecond
  let full = 0; // the part of a body that they fill
  let most = MOST_EVENTS; // events in a body; an answer that tells too little halves it
  let failures = 0;
  let rest = 0; // no request before this time
  let busy = 0; // until this time a request is in flight
  let again; // something waits for the request in flight
  let bytes = 0; // keepalive bytes in flight
  let timerAt; // when the next pump is due

  // Whatever goes wrong in here stays in here.
  const attempt = (action) => {
    try {
      return action();
    } catch (error) {
      if (debug) warn(error);
    }
  };

  // debug may be a function: it then gets each step of each event in place of the console.
  const tell = (step, ...records) => debug && records.forEach(({ e }) => attempt(() =>
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
  const restore = () => {
    if (stored[stateKey] && !disk.getItem(stateKey)) Object.keys(stored).forEach((key) => write(key, stored[key]));
  };

  const keys = () => [...new Set([...Object.keys(memory), ...Object.keys(disk || memory)])]
    .filter((key) => key.startsWith(prefix));

  // --- Records: {e: the event, u and s: user and signature, t: its session, n: serial, l: leased until, by: the page
  // that leases it, w: whether it has been sent and not answered} ---

  const save = (record) => write(prefix + record.e.eventId, stringify(record));

  const find = (key) => attempt(() => JSON.parse(memory[key] || disk.getItem(key)));

  const finish = (step, record, ...why) => {
    erase(prefix + record.e.eventId);
    if (why[0]) warn(step, record.e, ...why);
    tell(step, record);
  };

  // All records, oldest first. What is too old or too much goes: the host page's storage is not ours to fill. Only
  // before an outage may a burst take more of it, for the moment that it needs to get through. What is on its way
  // counts, and stays.
  const load = () => {
    const now = Date.now();
    const room = MOST_CHARACTERS * (failures > 1 || 4); // one failure is no outage
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
        if (!sent(record) && (count++ >= MOST_RECORDS || excess)) return finish('dropped', record, ++pz.dropped);
        return (size = more);
      })
      .sort(order);
  };

  // Leases records to this page until a time. It may take them earlier, unless they have been sent.
  const hold = (records, l, w) => records.forEach((record) => save({ ...record, l, w, by: page }));

  // A lease far in the future is a clock that was set back, not a lease.
  const free = ({ l, by, w }) => {
    const now = Date.now();
    return l <= now || l > now + LONGEST || (by === page ? !w : silent[by] < now);
  };

  // --- Session: {t: what stands for it, n: the first one's name, m: what is to be recalled, [key, value, when]} ---

  // A session goes by the gateway's signed tag, which has dots. Before there is one it goes by a random name: the
  // browser's first one by `n`, on which tabs that start at once have agreed by the time they send; the one after a
  // reset by another. Other scripts may have written there: what it can't be counts for nothing.
  const state = () => {
    restore();
    const { t, n, m } = find(stateKey) || {};
    return { t, n, m: [m].flat().filter(Array.isArray) };
  };
  const remember = (changes) => write(stateKey, stringify({ ...state(), ...changes }));

  const firstName = () => {
    const { n = newId() } = state();
    remember({ n });
    return n;
  };

  const listeners = []; // of who asked for the session
  const tellSession = () => listeners.forEach((listener) => listener());

  // The gateway has named the session of this batch: so are called now the page's session and what waits in it.
  const adopt = (session, [{ t, e }]) => {
    if (!session) return;
    const same = (t + '').startsWith(session.split('.')[0]);
    const { t: now, n, m } = state();
    if ((now || n) === t) remember({ t: session, m: m.filter((one) => same || one[2] >= e.sentAt) });
    load().forEach((record) => {
      if ((record.t || n) === t && record.e.sentAt >= e.sentAt) save({ ...record, t: session });
    });
    tellSession();
  };

  // --- Delivery ---

  const keepalives = attempt(() => 'keepalive' in Request.prototype);

  // Posts the next body: records in order, of one user and session.
  const send = (room, going) => {
    const waiting = load().filter(free);
    if (consent !== 'granted' || !waiting[0]) return;
    const name = firstName();
    waiting.forEach((record) => {
      record.t ||= name;
    });
    const { t, u, s } = waiting[0];
    const eventList = [];
    const batch = [];
    let size = ENVELOPE;
    for (const record of waiting.filter((one) => one.t === t && one.u === u && one.s === s)) {
      const more = new Blob([stringify(record.e)]).size + 1; // UTF-8, which is what the quota counts
      if (batch.length >= most || (size + more > room && (batch.length || room < QUOTA))) break;
      size += more;
      batch.push(record);
      eventList.push(record.e);
    }
    again = batch.length < waiting.length;
    return batch[0] && post(batch, size, going, stringify({
      trackingId: site,
      userId: u,
      signature: s,
      clientTime: Date.now() / 1e3,
      ...(/\./.test(t) ? { session: t } : { newSession: t, reset: t !== name }),
      eventList,
    }));
  };

  const post = async (batch, size, going, body) => {
    const until = Date.now() + LEASE;
    const keepalive = keepalives && bytes + size <= QUOTA;
    if (!keepalive) size = 0;
    hold(batch, until, 1);
    tell('sent', ...batch);
    // A beacon is never an answer: the records stay, and a later page asks again.
    if (going && !keepalives && navigator.sendBeacon(url, body)) return;
    busy = until;
    bytes += size;
    let header, status;
    let answer = {};
    try {
      // A string goes out as text/plain, which needs no preflight.
      const response = await fetch(url, { method: 'POST', body, credentials: 'include', keepalive });
      header = (name) => response.headers.get(name);
      status = response.status;
      adopt(header('X-Gateway-Session'), batch);
      answer = (await response.json()) || answer;
    } catch (error) {
      // No answer, or one without JSON: the status, or its absence, says what to do.
    }
    bytes -= size;
    if (busy === until) busy = 0;
    attempt(() => {
      const now = Date.now();
      // A 200 or a 400 of a proxy, or of a service worker, is none of the gateway's.
      const stored = status === 204 || answer.accepted;
      const unfit = /400|413/.test(status);
      const ours = unfit && answer.__type;
        if (stored || (ours && (batch.length < 2 || answer.errors?.eventList))) {
        most = MOST_EVENTS;
        failures = rest = 0;
        batch.forEach((record, at) => {
          if (stored && !answer.rejected?.some(({ index }) => index === at)) {
            finish(header('X-Gateway-Reason') || 'accepted', record);
          } else finish('refused', record, answer);
        });
      } else {
        // 403 and 404 are an operator's slip, mended in hours: nothing is lost, and nothing hurries.
        if (/403|404/.test(status)) warn(status, answer);
        if (unfit) most = (batch.length + 1) >> 1;
        if (rest <= now && !ours) failures++; // requests that were on their way at once fail once
        rest = now + !ours * Math.min(LONGEST, Math.max(
          /403|404/.test(status) * LONGEST, header?.('Retry-After') * 1e3 || 0, 500 * 2 ** failures * (0.5 + Math.random())));
        // Others may have delivered some of it meanwhile, or sent it again.
        batch = load().filter(({ l, by }) => l === until && by === page);
        hold(batch, rest);
        tell('held', ...batch);
        again = true;
      }
      if (again) wake(rest - now);
    });
  };

  // One request at a time. A request that never ends is given up with its lease.
  const pump = () => {
    timerAt = Infinity;
    full = 0;
    const pause = Math.max(busy, rest) - Date.now();
    if (pause > 0 && pause <= LONGEST) { // else the clock was set back
      again = true;
      wake(pause);
    } else send(QUOTA);
  };

  // Everything at once, in this very task: the page may be going, or has so much to tell that a body is full. Only a
  // page that goes does so before the time that the gateway asked for.
  const drain = (going, full) => {
    while ((going || rest <= Date.now()) && send(QUOTA - !full * bytes, !full));
  };

  const soon = (action, delay) => setTimeout(() => attempt(action), delay);

  const wake = (delay) => {
    const at = Date.now() + delay;
    hear();
    if (at >= timerAt) return;
    timerAt = at;
    soon(pump, delay);
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
    soon(pump, ANSWER * (1.1 + Math.random())); // tabs restored together do not adopt together
    load().forEach(({ by }) => {
      silent[by] ??= Date.now() + ANSWER;
    });
    channel.postMessage(0);
  };

  // A module beside the script. No script element, which Trusted Types would object to.
  const loadModule = (file) => import(folder + file).catch(warn);

  // --- Calls ---

  const text = (value) => String(value ?? '') || undefined;

  // A random UUID ends the address of each blob, on http too, where crypto.randomUUID() is missing.
  const newId = () => URL.createObjectURL(new Blob()).slice(-36);

  // What belongs to a key: what is given now, or was given last.
  const recall = (key, given, when) => {
    const { m } = state();
    const known = m.find(([one]) => one === key);
    const value = given || known?.[1];
    if (key && value) remember({ m: [...m.filter((one) => one !== known), [key, value, when]].slice(-REMEMBERED) });
    return value;
  };

  // A thank-you page that is loaded again tracks the same purchase.
  const purchaseId = (key) => recall(key, recall(key) || newId(), FOREVER);

  const track = (type, options, element) => {
    if (consent === 'denied') return;
    const { itemId, eventValue, properties, recommendationId, impression, eventId, orderId, source } = options || {};
    const now = Date.now();
    const sentAt = now / 1e3;
    const item = text(itemId);
    const order = orderId || properties?.orderId;
    const purchase = /^purchase$/i.test(type);
    const record = {
      e: {
        eventId: text(eventId) || (purchase && order ? purchaseId('purchase ' + [order, item]) : newId()),
        eventType: text(type),
        itemId: item,
        eventValue: text(eventValue) && +eventValue,
        properties,
        // What led to the item leads to its purchase as well; the latest counts.
        ...recall(item, (recommendationId || source) && {
          recommendationId: text(recommendationId),
          metricAttribution: source && { eventAttributionSource: text(source) },
        }, sentAt),
        impression,
        sentAt,
      },
      // The user and the session of this moment: who logs in later did not do this.
      u: user,
      s: signature,
      t: state().t,
      n: serial++,
    };
    // <auto>
    record.e.impression ||= attempt(() => attach(item, recommendationId, element));
    // </auto>
    hold([record], now + FRESH);
    load();
    tell('queued', record);
    full += 1 / MOST_EVENTS + stringify(record).length / QUOTA;
    wake(purchase || full > 0.1 ? 0 : FLUSH); // at 10 events, or fewer large ones
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

  // <auto>
  const wants = (what) => auto.includes(what);

  // What a visitor did without a call teaches nothing without an item.
  const automatic = (type, options, element) => options.itemId && track(type, options, element);

  // </auto>
  const calls = {
    track,
    // <auto>
    auto: automatic, // for pz-media.js, and for debug mode to hear of
    // For what learns elsewhere than from elements what is visible: {list: a name, items: their ids, in order}. They are
    // seen at once, as a block of that name.
    seen({ list, items }) {
      items.forEach((item) => note(block(list), text(item), doc));
    },
    // </auto>
    identify,
    // Logging out ends the session too: the next event, on whichever page, tells the gateway.
    reset() {
      remember({ t: newId(), m: [] });
      identify();
    },
    consent(how) {
      consent = how;
      if (how === 'denied') {
        [stateKey, ...keys()].forEach(erase);
        // <auto>
        blocks.clear();
        // </auto>
      }
      Object.keys(memory).forEach((key) => write(key, memory[key]));
      wake(0);
    },
    flush: () => wake(0),
    debug(on) {
      debug = on;
      // Warnings of misuse, which no other page loads.
      loadModule('npm/misuse.js').then((misuse) => misuse?.watch(on));
    },
    // Once the gateway has named it, and at each change.
    session(hear) {
      let told;
      const listener = () => {
        const [sessionId, signed] = state().t?.split('.') || [];
        if (signed && told !== (told = sessionId + ' ' + user)) attempt(() => hear({ sessionId, userId: user }));
      };
      listeners.push(listener);
      listener();
    },
  };

  const queue = stub?.q || [];
  const pz = (win.pz = (call, ...options) => {
    if (doc.prerendering) queue.push([call, ...options]);
    else attempt(() => calls[call](...options));
  });
  pz.site = site;
  pz.dropped = 0;

  // --- Capture ---

  // Item and recommendation may stand on an element or around it.
  const near = (element, name) => element.closest('[data-pz-' + name + ']')?.getAttribute('data-pz-' + name);
  const about = (element) => ({
    itemId: near(element, 'item'), recommendationId: near(element, 'rec'), source: near(element, 'source'),
  });

  // The nearest element with data-pz-event speaks, else the nearest item.
  const clicked = ({ target, button }) => {
    if (button > 1) return;
    let element = target.closest('[data-pz-event]');
    let action = track;
    // <auto>
    if (!element && wants('click')) {
      element = target.closest('body [data-pz-item]');
      action = automatic;
    }
    // </auto>
    // A click on a label comes once more, on its control.
    if (!element || element.contains(target.closest('label,a,:enabled')?.control?.closest(':enabled'))) return;
    const { pzEvent, pzValue, pzImpression, pzProps } = element.dataset;
    action(pzEvent || 'click', {
      ...about(element),
      eventValue: pzValue,
      impression: pzImpression?.match(/[^\s,]+/g),
      properties: attempt(() => JSON.parse(pzProps || null)),
    }, element);
  };

  // document.open() takes the listeners away; to add one again that is there changes nothing.
  const handlers = [];
  const listen = (target, type, action) => {
    const handler = (event) => attempt(() => action(event));
    handlers.push(() => target.addEventListener(type, handler, true));
  };
  const hear = () => handlers.forEach((add) => add());

  // <auto>
  // Views are told apart by their URL; an anchor inside the page is none, a router's is.
  let place;
  const view = () => {
    const here = location.href.replace(/#(?![!/]).*/, '');
    const options = about(doc.body);
    if (here === place) return;
    place = here;
    blocks.clear();
    if (wants('page')) win.pz('auto', 'view', options);
    watch();
  };

  // After the page's own handlers, which may still correct the URL or draw what it stands for.
  const turned = () => soon(view);

  const followHistory = () => {
    listen(win, 'popstate', turned);
    ['pushState', 'replaceState'].forEach((name) => {
      const original = history[name];
      history[name] = (...rest) => {
        turned();
        return original.apply(history, rest);
      };
    });
  };

  // --- Impressions: what was seen goes with the next event of an item of its block ---

  const inSight = new Map(); // by element: [since when half of it is visible, its block, its item]
  const blocks = new Map(); // of this view, by recommendation, list or element: what was seen there

  // By item: the element that showed it, or 0 once it went with an event.
  const block = (key) => blocks.get(key) || blocks.set(key, new Map()).get(key);
  const blockOf = (element) => block(
    near(element, 'rec') || near(element, 'list') || element.closest('[data-pz-list]') || doc);

  // Personalize joins the items of an impression by a |.
  const fits = (item) => item && !/\|/.test(item);

  const note = (seen, item, element) => !fits(item) || seen.has(item) || seen.set(item, element);

  const noteSeen = ([since, ...seen], element) => Date.now() - since < SHOWN || note(...seen, element);

  const items = () => [...doc.querySelectorAll('body [data-pz-item]')];

  // The impression of an event: what was seen in the block and went with none yet, in the order of the page, with the
  // event's item. What does not fit waits for the next one.
  const attach = (item, recommendationId, element) => {
    if (!blocks.size || !fits(item)) return;
    inSight.forEach(noteSeen);
    const all = items();
    const here = all.find((one) => one.dataset.pzItem === item && one.contains(element || one));
    const where = element || here;
    const seen = (!element && [block(recommendationId), ...blocks.values()].find((one) => one.has(item))) ||
      (where ? blockOf(where) : []);
    if (![...seen].some((one) => one[1])) return;
    if (!seen.get(item)) seen.set(item, here || doc);
    let count = MOST_SHOWN;
    let room = MOST_SHOWN_CHARACTERS - item.length;
    return [...seen]
      .sort(([, a], [, b]) => all.indexOf(a) - all.indexOf(b))
      .filter(([id, shown]) => shown && (id === item || (--count > 0 && (room -= id.length + 1) >= 0)))
      .map(([id]) => seen.set(id, 0) && id);
  };

  const look = (element, visible) => {
    if (inSight.has(element)) noteSeen(inSight.get(element), element);
    inSight.delete(element);
    if (visible) inSight.set(element, [Date.now(), blockOf(element), element.dataset.pzItem]);
  };

  const observer = wants('impression') ? attempt(() => new IntersectionObserver((entries) =>
    entries.forEach(({ target, intersectionRatio }) => look(target, intersectionRatio >= 0.5)), { threshold: 0.5 })) : null;

  let scanning;
  const scan = () => {
    scanning = 0;
    if (!doc.hidden) items().forEach((element) => observer?.observe(element));
  };

  // Anew for each view, and not while the page is hidden.
  const watch = () => {
    observer?.disconnect();
    inSight.forEach(noteSeen);
    inSight.clear();
    scan();
  };

  // A carousel may show another item in the same element, which then has to be seen as long.
  const changed = () => {
    inSight.forEach(([, seen, item], element) =>
      (seen === blockOf(element) && item === element.dataset.pzItem) || look(element, 1));
    scanning ||= soon(scan, 500);
  };

  const startCapture = () => {
    if (doc.readyState !== 'loading') view();
    listen(doc, 'DOMContentLoaded', view);
    if (auto) attempt(followHistory);
    listen(doc, 'visibilitychange', () => {
      view();
      watch();
    });
    listen(win, 'pagehide', view);
    listen(win, 'pageshow', ({ persisted }) => {
      if (persisted) place = 0;
      view();
    });
    if (observer) {
      new MutationObserver(changed).observe(doc, {
        childList: true, subtree: true, attributeFilter: ['data-pz-item', 'data-pz-rec', 'data-pz-list'],
      });
    }
    if (wants('media')) loadModule('pz-media.js');
  };
  // </auto>

  // --- Start: when the page is shown, so that one prerendered for nothing does nothing ---

  const start = () => {
    firstName();
    queue.forEach((call) => pz(...call));
    // <auto>
    startCapture(); // first: what it hears of is tracked before the page's events are sent
    // </auto>

    listen(doc, 'click', clicked);
    listen(doc, 'auxclick', clicked); // a link into another tab
    listen(doc, 'visibilitychange', () => {
      if (doc.hidden) drain();
      else wake(0);
    });
    listen(win, 'pagehide', () => {
      drain(true);
      channel.close(); // open, it may keep the page out of the back/forward cache
    });
    listen(win, 'pageshow', ({ persisted }) => {
      if (persisted) {
        meet();
        ask();
      }
    });
    listen(win, 'online', () => {
      rest = 0;
      wake(0);
    });
    listen(win, 'storage', ({ key, newValue }) => { // another page has changed it
      if (newValue && stored[key]) stored[key] = newValue;
      else delete stored[key];
      tellSession();
    });
    attempt(meet);
    attempt(ask);
    setInterval(() => attempt(ask), LEASE); // what other pages left behind
    hear();
  };

  if (doc.prerendering) {
    listen(doc, 'prerenderingchange', start);
    hear();
  } else attempt(start);
})(window, document);
