// The inspector: looks a few times a second, in short requests, and shows what came.
import { draw, mean, number, points, rate } from './charts.js';
import { siteCard } from './report.js';
import { badge, details, duration, element, summary } from './life.js';

const EVENTS_EVERY = 400, NUMBERS_EVERY = 1000, REPORT_EVERY = 10000; // milliseconds
const ROWS = 300; // newest events kept in the list
const SAY_EVERY = 10000; // milliseconds between what screen readers hear of the stream

const byId = (id) => document.getElementById(id);
const rows = new Map(); // a life's key → its row
const seen = { sites: new Set(), types: new Set(), reasons: new Set() };
let next = 0, asked = 0, paused = false, unsaid = 0, bad = 0;

async function ask(what, members = {}) {
  const query = new URLSearchParams(Object.entries(members).filter(([, value]) => value));
  const answer = await fetch('inspect/' + what + '?' + query);
  if (answer.status === 401) location.reload(); // the log-in is over: the form is there instead
  if (!answer.ok) throw new Error((await answer.json()).message);
  return answer.json();
}

// --- Events ---

function show(life) {
  let row = rows.get(life.key);
  if (!row) {
    row = element('li', 'event');
    const box = element('details', '', element('summary'));
    box.addEventListener('toggle', () => fill(row));
    row.append(box);
    rows.set(life.key, row);
    byId('events').prepend(row);
    unsaid += 1;
  }
  if (['refused', 'dead'].includes(life.state) && row.dataset.state !== life.state) bad += 1;
  row.life = life;
  row.dataset.id = life.eventId || '';
  row.dataset.state = life.state;
  row.querySelector('summary').replaceChildren(...summary(life));
  fill(row);
  offer('sites', life.site);
  offer('types', life.eventType);
  life.steps.forEach((step) => offer('reasons', step.reason));
}

function fill(row) {
  const box = row.firstElementChild;
  while (box.children.length > 1) box.lastElementChild.remove();
  if (box.open) box.append(element('div', 'inside', ...details(row.life)));
}

function offer(list, value) {
  if (!value || seen[list].has(value) || seen[list].size >= 100) return;
  seen[list].add(value);
  const option = element('option');
  option.value = value;
  byId(list).append(option);
}

const filters = () => Object.fromEntries(new FormData(byId('filters')));

async function lookAtEvents() {
  const number = asked;
  const answer = await ask('events', { ...filters(), after: next });
  if (number !== asked) return; // the filters have changed meanwhile
  if (answer.next < next) return begin(); // the trail was begun anew
  next = answer.next;
  answer.events.forEach(show);
  while (rows.size > ROWS) {
    const last = byId('events').lastElementChild;
    rows.delete(last.life.key);
    last.remove();
  }
  byId('none').hidden = rows.size > 0;
}

function begin() {
  next = 0;
  asked += 1;
  rows.clear();
  byId('events').replaceChildren();
  const filtered = Object.values(filters()).some(Boolean);
  byId('none').textContent = filtered ? 'No event of the last hour is like that.' : 'No events yet.';
  byId('none').hidden = false;
}

function say() {
  if (unsaid && !paused) {
    byId('said').textContent = number(unsaid) + ' new events' + (bad ? ', ' + number(bad) + ' of them not accepted or given up' : '');
  }
  unsaid = bad = 0;
}

// --- Numbers ---

function showNumbers({ now, seconds, ticks, queue, troubles, local }) {
  const of = points(ticks, now, seconds);
  const recent = (values) => values.at(-2) || 0; // the last that is complete
  const events = [['accepted', 'queued'], ['delivered', 'delivered'], ['refused', 'refused'], ['dropped', 'dropped'], ['dead', 'dead']]
    .map(([name, what]) => ({ name, values: of(what, rate) }));
  draw('events', 'Events a second', events.map((line) => ({ ...line, text: number(recent(line.values)) })));

  const depth = of('depth', (point) => point.total);
  const depthNow = queue ? [
    { name: 'waiting', values: depth, text: number(queue.queued) },
    { name: 'oldest', values: of('depth', (point) => point.most), unit: 's', text: queue.queued ? duration(queue.oldest_seconds) : '–' },
    { name: 'dead letters', values: [], text: number(queue.dead) },
  ] : [{ name: 'waiting', values: depth, text: 'ask the forwarders' }];
  draw('queue', 'Queue', depthNow, { gaps: true });

  const latency = of('requests', (point) => mean(point) * 1000), worst = of('requests', (point) => point.most * 1000);
  draw('latency', 'PutEvents latency', [
    { name: 'mean', values: latency, text: last(latency, ' ms') },
    { name: 'slowest', values: worst, text: last(worst, ' ms') },
  ], { gaps: true });

  const fill = of('fill', mean);
  draw('fill', 'Events a PutEvents request', [{ name: 'mean', values: fill, text: last(fill, ' of 10') }], { least: 10, gaps: true });

  byId('local').hidden = !local;
  showTroubles(troubles);
}

function last(values, unit) {
  const known = values.filter((value) => value !== null);
  return known.length ? number(known.at(-1)) + unit : '–';
}

function showTroubles(troubles) {
  const list = byId('troubles');
  if (list.dataset.said === troubles.join('\n')) return; // said once, not each second
  list.dataset.said = troubles.join('\n');
  list.replaceChildren(...troubles.map((text) => element('li', '', text)));
}

// --- Enough to train? ---

function showReports({ sites }) {
  byId('report-unknown').hidden = sites !== null;
  byId('reports').replaceChildren(...(sites || []).map(siteCard));
}

// --- Where is my event? ---

async function where(event) {
  event.preventDefault();
  const id = byId('where-id').value.trim(), place = byId('where-found');
  if (!id) return;
  try {
    const found = await ask('trace', { id });
    place.replaceChildren(...answered(found));
  } catch (error) {
    place.replaceChildren(element('p', 'none', error.message));
  }
}

function answered({ lives, queued, deadLetters }) {
  const told = (lives || []).map((life) =>
    element('article', 'card found', element('p', 'summary', ...summary(life)), ...details(life)));
  (queued || []).forEach(({ site, attempts }) => told.push(element('p', 'card found', badge('queued'),
    ' It waits in the queue, for ' + site + (attempts ? ', and was in ' + number(attempts) + ' PutEvents requests.' : ', and was not sent yet.'))));
  (deadLetters || []).forEach(({ id, reason, message }) => told.push(element('p', 'card found', badge('dead'),
    ' It is dead letter ' + id + ': ' + reason + ': ' + message)));
  if (told.length) return told;
  return [element('p', 'none', 'Nothing is known of it: it ' + (queued ? 'is not queued, is no dead letter, and ' : '') +
    'had no step within the last hour. It may be older, or never have reached this gateway.')];
}

// --- Looking ---

async function every(milliseconds, look) {
  if (!document.hidden && !paused) {
    try {
      await look();
      pulse('live');
    } catch (error) {
      pulse('no answer');
    }
  }
  setTimeout(every, milliseconds, milliseconds, look);
}

function pulse(words) {
  const light = byId('pulse');
  if (light.textContent === words) return;
  light.textContent = words;
  light.dataset.state = words;
}

byId('pause').addEventListener('click', ({ target }) => {
  paused = !paused;
  target.ariaPressed = String(paused);
  pulse(paused ? 'paused' : 'live');
});
byId('filters').addEventListener('input', begin);
byId('filters').addEventListener('submit', (event) => event.preventDefault());
byId('where').addEventListener('submit', where);
setInterval(say, SAY_EVERY);
every(EVENTS_EVERY, lookAtEvents);
every(NUMBERS_EVERY, async () => showNumbers(await ask('numbers')));
every(REPORT_EVERY, async () => showReports(await ask('report')));
