// Where a project declares no events of its own: any type, scalar properties, and a generic that narrows.
import { track, type Track } from 'personalize-gateway';

track('anything', { properties: { colour: 'blue', size: 2, gift: true, note: null } });
track<'view' | 'purchase'>('view');

interface Events {
  view: { colour: string };
  purchase: { coupon?: string };
}
const trackShop = track as Track<Events>;
trackShop('view', { itemId: 'mug', properties: { colour: 'blue' } });

// @ts-expect-error: properties are scalars
track('anything', { properties: { nested: { a: 1 } } });
// @ts-expect-error: not one of the two
track<'view' | 'purchase'>('veiw');
// @ts-expect-error: not one of the shop's
trackShop('veiw');
// @ts-expect-error: not one of its properties
trackShop('purchase', { properties: { colour: 'blue' } });
