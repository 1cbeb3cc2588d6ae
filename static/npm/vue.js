import { inject, shallowRef, toValue, watch } from 'vue';
import { consent, flush, identify, init, reset, session as listen, track } from './index.js';

const calls = { track, identify, reset, consent, flush };
const KEY = Symbol('personalize-gateway');

/** Load the snippet: `app.use(PersonalizePlugin, { gateway, site })`. Templates get the calls as `$pz`. */
export const PersonalizePlugin = {
  install(app, options) {
    const session = shallowRef();
    init(options);
    listen((current) => {
      session.value = current;
    });
    app.provide(KEY, { ...calls, session });
    app.config.globalProperties.$pz = calls;
  },
};

/** Return the calls, and a ref of the session, which is empty until the gateway has named it. */
export const usePersonalize = () => inject(KEY, () => ({ ...calls, session: shallowRef() }), true);

/** Track an event now, and again when its type or options (refs or getters) change. `null`: not yet. */
export function useTrack(eventType, options) {
  const event = () => (toValue(options) === null ? null : JSON.stringify([toValue(eventType), toValue(options)]));
  watch(event, (current) => {
    if (current) track(toValue(eventType), toValue(options));
  }, { immediate: true });
}
