/// <reference path="../pz.d.ts" />

export interface InitOptions {
  /** The gateway's address as browsers see it: its GATEWAY_PUBLIC_URL. */
  gateway: string;
  /** The site's key in the gateway's sites file. */
  site: string;
  /** What is tracked without a call. */
  auto?: PzAuto | readonly PzAuto[];
  /** What holds until `consent` says otherwise. */
  consent?: PzConsent;
  /** The file of a pinned build, as `personalize-gateway snippet` prints it; the newest build otherwise. */
  script?: string;
  /** The hash of the pinned build. */
  integrity?: string;
  /** For a Content-Security-Policy with nonces. */
  nonce?: string;
}

/** What `track` takes beside the event's type; properties are scalars. */
export interface TrackOptions<Properties = PzProperties> extends Omit<PzTrackOptions, 'properties'> {
  /** More about the event: at most 1024 characters as JSON. */
  properties?: Properties;
}

/** The type of `track` for some event types with their properties: `track as Track<{ view: { colour: string } }>` */
export type Track<Events> = <Type extends keyof Events & string>(
  eventType: Type,
  options?: TrackOptions<Events[Type]>,
) => void;

/** The session that the gateway has named, for GetRecommendations; `userId` is there after a log-in. */
export interface Session {
  sessionId: string;
  userId?: string;
}

/** Loads the snippet from the gateway, unless the page has it already. */
export function init(options: InitOptions): void;
/** Records an event; it is delivered soon, and survives the page. */
export function track<Type extends PzEventType>(eventType: Type, options?: TrackOptions<PzPropertiesOf<Type>>): void;
/** Says who the visitor is, for the events from now on. */
export function identify(userId?: string | number | null, options?: PzIdentifyOptions): void;
/** The visitor logged out: forgets the user, and the next event begins a new session. */
export function reset(): void;
/** Whether events may be stored and sent. */
export function consent(state: PzConsent): void;
/** Hears of the session, now and on each change, until the returned function is called. */
export function session(callback: (session: Session) => void): () => void;
/** Sends what waits, now. */
export function flush(): void;
/** Tells each step of each event, to the console or to a function, and warns of misuse. */
export function debug(on: boolean | ((step: PzStep, event: PzEvent) => void)): void;
