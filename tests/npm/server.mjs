// Server-side rendering: everything may be imported and called where there is no page.
import assert from 'node:assert';
import { createSSRApp, h } from 'vue';
import { renderToString } from 'vue/server-renderer';
import { consent, debug, flush, identify, init, reset, session, track } from 'personalize-gateway';
import 'personalize-gateway/react';
import 'personalize-gateway/testing';
import { PersonalizePlugin, useTrack } from 'personalize-gateway/vue';

const options = { gateway: 'https://events.example.com', site: 'shop' };
init(options);
track('view', { itemId: 'mug' });
identify('u-17');
reset();
consent('granted');
session(() => assert.fail('there is no session on a server'))();
flush();
debug(true);

const shop = {
  setup() {
    useTrack('view', { itemId: 'mug' });
    return () => h('p', 'Mug');
  },
};
assert.equal(await renderToString(createSSRApp(shop).use(PersonalizePlugin, options)), '<p>Mug</p>');
