// The panel beside the shop: each event at each stop of its way. It only looks on; the shop works without it.
'use strict';
{
  const EVERY = 400; // milliseconds between looks
  const ROWS = 60; // newest rows kept in each list

  const byTest = (id) => document.querySelector('[data-testid="' + id + '"]');
  const shown = (id, words) => { document.getElementById(id).textContent = words; };
  const stages = Object.fromEntries(['tracked', 'stored', 'received'].map((name) =>
    [name, { list: byTest(name + '-list'), counter: byTest(name + '-count'), count: 0 }]));

  const storedAt = new Map(); // eventId → when the gateway stored it, to tell how long the next stop took

  function element(tag, className, words) {
    const made = document.createElement(tag);
    made.className = className;
    if (words !== undefined) made.textContent = words;
    return made;
  }

  function duration(seconds) {
    if (!(seconds >= 0)) return '';
    return seconds < 1 ? '+' + Math.round(seconds * 1000) + ' ms' : '+' + seconds.toFixed(seconds < 10 ? 1 : 0) + ' s';
  }

  function row({ eventId = '', eventType, itemId }, note) {
    const made = element('li', 'event');
    made.dataset.type = eventType;
    made.dataset.id = eventId;
    made.title = [eventType, itemId, eventId].filter(Boolean).join(' · ');
    const what = element('span', 'what');
    what.append(element('b', 'type', eventType), element('span', 'item', itemId || ''));
    made.append(what, element('code', 'id', eventId.slice(0, 8)), element('span', 'note', note));
    return made;
  }

  function put(name, made, events = 1) {
    const { list, counter } = stages[name];
    const scrolled = list.scrollTop > 0;
    list.prepend(made);
    // Who has scrolled down to read keeps their place.
    if (scrolled) list.scrollTop += made.offsetHeight;
    while (list.children.length > ROWS) list.lastElementChild.remove();
    counter.textContent = stages[name].count += events;
    flash(list.parentElement);
  }

  function flash(stage) {
    if (matchMedia('(prefers-reduced-motion: reduce)').matches) return;
    stage.animate([{ left: '-20%', opacity: 1 }, { left: '75%', opacity: 0 }],
      { pseudoElement: '::after', duration: 700, easing: 'ease-out' });
  }

  function clear(name) {
    stages[name].list.replaceChildren();
    stages[name].counter.textContent = stages[name].count = 0;
  }

  // --- Browser: the snippet tells each step of each event's life ---

  const tracked = new Map(); // eventId → its row, steps and time

  pz('debug', (step, event) => {
    if (document.getElementById('console').checked) console.log('pz: ' + step, event.eventType, event.itemId || '', event.eventId);
    const known = tracked.get(event.eventId);
    if (step === 'queued' && !known) begin(event);
    live(event.eventId, step);
  });

  function begin(event) {
    const made = row(event, '');
    made.append(element('ol', 'life'));
    tracked.set(event.eventId, { made, since: Date.now(), open: true });
    put('tracked', made);
    // A page waits a little, so that events share a request. Who looks on here shall not have to.
    setTimeout(pz, 0, 'flush');
  }

  function live(eventId, step) {
    const known = tracked.get(eventId);
    if (!known) return; // of another page, which this one delivers
    known.open = ['queued', 'sent', 'held'].includes(step);
    known.made.dataset.step = step;
    known.made.querySelector('.note').textContent = step;
    const mark = element('li', '', step + ' ' + duration((Date.now() - known.since) / 1000));
    mark.dataset.step = step;
    known.made.querySelector('.life').append(mark);
    const waiting = [...tracked.values()].filter(({ open }) => open).length;
    shown('waiting', waiting ? waiting + ' waiting' : 'nothing waits');
  }

  // Who denies consent has what waits erased, and the snippet keeps quiet about it.
  document.getElementById('consent-choice').addEventListener('change', ({ target }) => {
    if (target.value === 'denied') tracked.forEach(({ open }, eventId) => { if (open) live(eventId, 'erased'); });
  });

  // --- Gateway ---

  function showStored({ sessionId, userId, storedAt: at, duplicate, event }) {
    if (duplicate) {
      const made = row(event, 'duplicate');
      made.dataset.step = 'duplicate';
      return put('stored', made, 0);
    }
    storedAt.set(event.eventId, at);
    put('stored', row(event, duration(at - event.sentAt)));
    showVisitor(sessionId, userId);
  }

  function showVisitor(sessionId, userId) {
    shown('fact-session', sessionId.slice(0, 8));
    document.getElementById('fact-session').title = sessionId;
    shown('fact-user', userId || 'anonymous');
  }

  // --- PutEvents: one group for each call, since that is what AWS sees ---

  function showCall({ id, receivedAt, status, error, trackingId, eventList }) {
    const group = element('li', 'call');
    group.dataset.ok = status === 200;
    const title = element('p', 'call-title', '#' + id + (status === 200 ? '' : ' ' + (error || status)));
    title.title = 'PutEvents call ' + id + ', answered ' + status;
    group.append(title);
    const events = element('ol', '');
    events.append(...eventList.map((event) =>
      row(event, duration(receivedAt - storedAt.get(event.eventId)))).reverse());
    group.append(events);
    put('received', group, status === 200 ? eventList.length : 0);
    shown('destination', (id === 1 ? '1 call' : id + ' calls') + ', local sandbox');
    showTrackingId(trackingId);
    if (status === 200) shown('live-said', stages.received.count + ' events received by PutEvents');
  }

  function showTrackingId(trackingId) {
    shown('fact-tracking', trackingId.length > 13 ? trackingId.slice(0, 12) + '…' : trackingId);
    document.getElementById('fact-tracking').title = trackingId;
  }

  // --- Looking ---

  const since = { stored: 0, received: 0 };

  async function look(name, show) {
    const answer = await (await fetch(name + '?since=' + since[name])).json();
    const news = answer.records || answer.calls;
    if (answer.next < since[name]) {
      // The gateway was started anew, and counts from the beginning: what it showed is gone.
      for (const each of Object.keys(since)) {
        since[each] = 0;
        clear(each);
      }
      return look(name, show);
    }
    since[name] = answer.next;
    news.forEach(show);
  }

  async function watch() {
    if (!document.hidden) {
      try {
        await look('stored', showStored);
        await look('received', showCall);
        pulse('live');
      } catch (error) {
        pulse('no answer');
      }
    }
    setTimeout(watch, EVERY);
  }

  function pulse(words) {
    const light = document.getElementById('pulse');
    if (light.textContent === words) return;
    light.textContent = words;
    light.dataset.on = words === 'live';
  }

  // --- The same event, wherever it is ---

  function point({ target }) {
    const id = target.closest && target.closest('.event') && target.closest('.event').dataset.id;
    for (const one of document.querySelectorAll('.event')) one.classList.toggle('pointed', one.dataset.id === id);
  }

  document.querySelector('.stages').addEventListener('pointerover', point);
  document.querySelector('.stages').addEventListener('pointerleave', point);
  document.getElementById('flush').addEventListener('click', () => pz('flush'));

  watch();
}
