// What the snippet's types allow, and what they don't: tsc has to accept this file.
pz('track', 'view', { itemId: 'mug' });
pz('track', 'purchase', { itemId: 17, eventValue: '24.50', orderId: 7, properties: { colour: 'blue' } });
pz('track', 'click', { recommendationId: 'rid-1', impression: ['mug', 'cup'], eventId: 'e-1' });
pz('identify', 'user-17', { signature: 'proof' });
pz('identify', null);
pz('reset');
pz('consent', 'pending');
pz('flush');
pz('debug', true);
pz('debug', (step, event) => console.log(step === 'held', event.eventId, event.sentAt.toFixed()));
window.pz('track', 'view');
if (pz.dropped) console.log(pz.site);

// @ts-expect-error: an event has a type
pz('track');
// @ts-expect-error: there is no such call
pz('tracked', 'view');
// @ts-expect-error: nor such an option
pz('track', 'view', { item: 'mug' });
// @ts-expect-error: nor such an answer
pz('consent', 'maybe');
