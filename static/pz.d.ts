// Types of the snippet's calls: the global function `pz`.
// The stub `window.pz=window.pz||function(){(pz.q=pz.q||[]).push(arguments)}` keeps calls made before it has loaded.

interface PzTrackOptions {
  /** The item that the event is about. */
  itemId?: string | number;
  /** A number that goes with the event, such as a price. */
  eventValue?: number | string;
  /** More about the event: camelCase keys, at most 1024 characters as JSON. */
  properties?: Record<string, unknown> | string;
  /** The recommendation that showed the item, as Amazon Personalize gave it. */
  recommendationId?: string;
  /** Ids of the items that were shown together, 25 at most. */
  impression?: string[];
  /** The event's own id, where it has one: an event counts once, however often it is tracked under the same id. */
  eventId?: string;
}

interface PzIdentifyOptions {
  /** The site's proof of the user id, where the gateway asks for one. */
  signature?: string;
}

/** An event as it goes to the gateway. */
interface PzEvent extends Omit<PzTrackOptions, 'itemId' | 'eventValue' | 'eventId'> {
  eventId: string;
  eventType: string;
  itemId?: string;
  eventValue?: number;
  /** When it happened, in seconds since 1970. */
  sentAt: number;
}

/** The steps of an event's life. `held`: the gateway could not take it now, and is asked again. `dropped`: the outbox was full. */
type PzStep = 'queued' | 'sent' | 'accepted' | 'refused' | 'held' | 'dropped';

interface Pz {
  /** Records an event; it is delivered soon, and survives the page. */
  (call: 'track', eventType: string, options?: PzTrackOptions): void;
  /** Says who the visitor is, for the events from now on. Without an id: nobody known. */
  (call: 'identify', userId?: string | number | null, options?: PzIdentifyOptions): void;
  /** The visitor logged out: forgets the user, and the next event begins a new session. */
  (call: 'reset'): void;
  /** Sends what waits, now. */
  (call: 'flush'): void;
  /** Tells each step of each event: to the console, or to a function. */
  (call: 'debug', on: boolean | ((step: PzStep, event: PzEvent) => void)): void;
}

interface Window {
  pz: Pz;
}

declare const pz: Pz;
