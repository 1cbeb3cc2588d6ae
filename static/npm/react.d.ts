import type { ReactElement, ReactNode } from 'react';
import type { consent, flush, identify, InitOptions, reset, Session, track, TrackOptions } from './index.js';

export interface PersonalizeProviderProps extends InitOptions {
  /** Who is logged in. `null` after somebody was is a log-out: the next event begins a new session. */
  userId?: string | number | null;
  /** The site's proof of the user id, where the gateway asks for one. */
  signature?: string;
  children?: ReactNode;
}

export interface Personalize {
  track: typeof track;
  identify: typeof identify;
  reset: typeof reset;
  consent: typeof consent;
  flush: typeof flush;
  /** The session, once the gateway has named it. */
  session: Session | undefined;
}

/** Loads the snippet, and says who the visitor is before any event of the children is tracked. */
export function PersonalizeProvider(props: PersonalizeProviderProps): ReactElement;

/** The calls, and the session. */
export function usePersonalize(): Personalize;

/** Tracks an event when the component appears, and again when the event changes. `null`: not yet. */
export function useTrack<Type extends PzEventType>(
  eventType: Type,
  options?: TrackOptions<PzPropertiesOf<Type>> | null,
): void;
