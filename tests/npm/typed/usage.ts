// Beside events.d.ts, which `personalize-gateway types shop` printed: view and purchase, with colour and basketSize.
import { consent, debug, identify, init, session, track } from 'personalize-gateway';
import { useTrack } from 'personalize-gateway/react';
import { useTrack as useVueTrack } from 'personalize-gateway/vue';

init({ gateway: 'https://events.example.com', site: 'shop', auto: ['page', 'click'], consent: 'pending' });
track('view', { itemId: 'mug', properties: { colour: 'blue', basketSize: 2 } });
track('purchase', { itemId: 17, eventValue: '24.50', orderId: 7, properties: { basketSize: 2 } });
identify('u-17', { signature: 'proof' });
session(({ sessionId, userId }) => console.log(sessionId.length, userId?.length))();
debug((step, event) => console.log(step, event.eventId));
useTrack('view', { itemId: 'mug', properties: { basketSize: 1 } });
useTrack('view', null);
useVueTrack('view', () => ({ itemId: 'mug' }));
pz('track', 'view', { properties: { basketSize: 2 } });

// @ts-expect-error: the site has no such event type
track('veiw');
// @ts-expect-error: nor has the global function
pz('track', 'veiw');
// @ts-expect-error: nor have the hooks
useTrack('veiw');
// @ts-expect-error
useVueTrack('veiw');
// @ts-expect-error: the schema has no such column
track('view', { properties: { basketSize: 2, color: 'blue' } });
// @ts-expect-error: it is a number
track('view', { properties: { basketSize: 'two' } });
// @ts-expect-error: it may not be left out
track('view', { properties: { colour: 'blue' } });
// @ts-expect-error: itemId
track('view', { itemid: 'mug' });
// @ts-expect-error: it needs a gateway
init({ site: 'shop' });
// @ts-expect-error: there is no such state
consent('maybe');
