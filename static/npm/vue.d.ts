import type { MaybeRefOrGetter, Plugin, ShallowRef } from 'vue';
import type { consent, flush, identify, InitOptions, reset, Session, track, TrackOptions } from './index.js';

export interface PersonalizeCalls {
  track: typeof track;
  identify: typeof identify;
  reset: typeof reset;
  consent: typeof consent;
  flush: typeof flush;
}

export interface Personalize extends PersonalizeCalls {
  /** The session, once the gateway has named it. */
  session: Readonly<ShallowRef<Session | undefined>>;
}

/** Loads the snippet: `app.use(PersonalizePlugin, { gateway, site })`. Templates get the calls as `$pz`. */
export const PersonalizePlugin: Plugin<[InitOptions]>;

/** The calls, and a ref of the session. */
export function usePersonalize(): Personalize;

/** Tracks an event now, and again when its type or options (refs or getters) change. `null`: not yet. */
export function useTrack<Type extends PzEventType>(
  eventType: MaybeRefOrGetter<Type>,
  options?: MaybeRefOrGetter<TrackOptions<PzPropertiesOf<Type>> | null>,
): void;

declare module 'vue' {
  interface ComponentCustomProperties {
    $pz: PersonalizeCalls;
  }
}
