// One event as an element. What is shown came from visitors: it goes in as text, never as HTML.

const MARKS = { accepted: '●', queued: '●', sent: '➜', delivered: '✓', waiting: '…', refused: '✕', dropped: '–', dead: '✕' };

export function element(tag, className, ...inside) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...inside.filter((one) => one !== null && one !== undefined && one !== ''));
  return made;
}

const two = (number) => String(number).padStart(2, '0');

export function clock(seconds) {
  const at = new Date(seconds * 1000);
  return [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(':') +
    '.' + String(at.getMilliseconds()).padStart(3, '0');
}

function time(seconds) {
  const made = element('time', '', clock(seconds));
  made.dateTime = made.title = new Date(seconds * 1000).toISOString();
  return made;
}

export function duration(seconds) {
  if (seconds < 0.9995) return Math.round(seconds * 1000) + ' ms';
  if (seconds < 120) return seconds.toFixed(seconds < 10 ? 1 : 0) + ' s';
  return seconds < 7200 ? Math.round(seconds / 60) + ' min' : Math.round(seconds / 3600) + ' h';
}

export function badge(state) {
  const made = element('span', 'badge', state);
  made.dataset.state = state;
  return made;
}

export function summary(life) {
  const { itemId } = life.event || {};
  return [
    time(life.at),
    badge(life.state),
    element('b', 'type', life.eventType || '(no type)'),
    typeof itemId === 'string' ? element('span', 'item', itemId) : null,
    element('span', 'who', life.site || '(unknown site)', life.userId ? ' · ' + life.userId : ''),
    life.reason && life.state !== 'delivered' ? element('span', 'reason', life.reason) : null,
  ].filter(Boolean);
}

function request(id, requests) {
  const one = requests.find((each) => each.id === id);
  if (!one) return '';
  return 'PutEvents request ' + one.id + ', ' + one.events + (one.events === 1 ? ' event' : ' events') +
    (one.seconds === null ? ', not answered yet' : ', ' + (one.outcome === 'accepted' ? 'accepted' : one.outcome) +
      ' after ' + duration(one.seconds)) +
    (one.awsRequestId ? '; AWS’s request ID ' + one.awsRequestId : '');
}

function step(one, index, life) {
  const made = element('li', 'step');
  made.dataset.state = one.step;
  const mark = element('span', 'mark', MARKS[one.step] || '●');
  mark.ariaHidden = 'true';
  const since = index ? '+' + duration(one.at - life.steps[0].at) : clock(one.at);
  made.append(mark, element('b', '', one.step), element('span', 'dim', since));
  const what = one.step === 'sent' ? request(one.request, life.requests)
    : [one.reason, one.message].filter(Boolean).join(': ');
  if (what) made.append(element('p', 'what', what));
  return made;
}

export function details(life) {
  const facts = element('dl', 'facts');
  for (const [name, value] of [['eventId', life.eventId], ['session', life.sessionId], ['user', life.userId]]) {
    if (value) facts.append(element('dt', '', name), element('dd', '', value));
  }
  const steps = element('ol', 'steps', ...life.steps.map((one, index) => step(one, index, life)));
  return [steps, facts, element('pre', 'payload', JSON.stringify(life.event, null, 2))];
}
