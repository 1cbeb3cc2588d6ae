// Trouble at a switch: what the snippet is made for.
'use strict';
{
  const byId = (id) => document.getElementById(id);
  const [offline, shut, choice] = ['offline', 'shut', 'consent-choice'].map(byId);

  // A page can't unplug its browser. For what the snippet sends, this is the same: no answer, and the browser's word.
  const { fetch } = window;
  window.fetch = (url, ...rest) => offline.checked && String(url).endsWith('/events')
    ? Promise.reject(new TypeError('Failed to fetch'))
    : fetch(url, ...rest);
  offline.addEventListener('change', () => dispatchEvent(new Event(offline.checked ? 'offline' : 'online')));

  // The gateway itself then answers 503, to every tab of the shop.
  shut.addEventListener('change', () => fetch('shut', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: shut.checked,
  }));
  fetch('config.json').then((answer) => answer.json()).then((config) => { shut.checked = config.shut; });

  // --- Consent: the shop asks and remembers; the snippet is told ---

  function ask() {
    byId('consent').hidden = choice.value !== 'pending';
  }

  choice.addEventListener('change', () => {
    localStorage.setItem('shop-consent', choice.value);
    pz('consent', choice.value);
    ask();
  });
  for (const [answer, value] of [['accept', 'granted'], ['decline', 'denied']]) {
    document.querySelector('[data-testid="' + answer + '"]').addEventListener('click', () => {
      choice.value = value;
      choice.dispatchEvent(new Event('change'));
    });
  }
  choice.value = localStorage.getItem('shop-consent') || 'granted';
  ask();
}
