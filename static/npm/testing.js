/*
 * For end-to-end tests against `personalize-gateway sandbox` or `make run`. It runs in Node (Playwright, Vitest, tasks
 * of Cypress): the sandbox answers no page but its own.
 */

const parsed = (value) => {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
};

// Whether a value has all that is expected. PutEvents has properties as JSON text, and their values as strings.
function matches(value, expected) {
  if (expected === null || typeof expected !== 'object') return value === expected || value === String(expected);
  const found = typeof value === 'string' ? parsed(value) : value;
  if (found === null || typeof found !== 'object') return false;
  if (Array.isArray(expected) && found.length !== expected.length) return false;
  return Object.entries(expected).every(([name, wanted]) => matches(found[name], wanted));
}

const requests = (sandboxUrl) => `${sandboxUrl}`.replace(/\/*$/, '/requests');

async function accepted(sandboxUrl) {
  const response = await fetch(requests(sandboxUrl));
  if (!response.ok) throw new Error(`The sandbox at ${sandboxUrl} answered ${response.status}`);
  const calls = (await response.json()).filter(({ status }) => status === 200);
  return calls.flatMap(({ trackingId, sessionId, userId, eventList }) =>
    eventList.map((event) => ({ trackingId, sessionId, userId, ...event })));
}

/** Wait until PutEvents has accepted an event like this, and return it. */
export async function expectEvent(sandboxUrl, partial, { timeout = 10_000 } = {}) {
  const end = Date.now() + timeout;
  for (;;) {
    const events = await accepted(sandboxUrl);
    const found = events.find((event) => matches(event, partial));
    if (found) return found;
    if (Date.now() > end) {
      const seen = events.slice(-5).map((event) => `\n  ${JSON.stringify(event)}`).join('') || ' none';
      throw new Error(`No event like ${JSON.stringify(partial)} within ${timeout} ms. The newest events:${seen}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Have the sandbox forget what it received, before the next test. */
export async function clearEvents(sandboxUrl) {
  await fetch(requests(sandboxUrl), { method: 'DELETE' });
}
