/// <reference types="personalize-gateway" />
// A page with the script tag and no import: the types of the global `pz`.
pz('track', 'view', { itemId: 'mug', properties: { colour: 'blue', size: 2, gift: true, note: null } });
window.pz('identify', 'u-17');

// @ts-expect-error: properties are scalars
pz('track', 'view', { properties: { nested: { a: 1 } } });
// @ts-expect-error: there is no such option
pz('track', 'view', { itemid: 'mug' });
