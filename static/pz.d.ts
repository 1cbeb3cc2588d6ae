/*
 * The snippet's calls: the global function `pz`. A page needs no types. For TypeScript, copy this file into the
 * project, or install the npm package: /// <reference types="personalize-gateway" />
 *
 * The script tag
 *   data-site       the site's key. The only attribute that must be there.
 *   data-auto       what is tracked without a call, any of: page click impression media. pz-core.js knows none of it.
 *   data-consent    granted (as without it), pending or denied: what holds until pz('consent', …) says otherwise
 *   The stub `window.pz=window.pz||function(){(pz.q=pz.q||[]).push(arguments)}` before it keeps earlier calls.
 *
 * Elements
 *   data-pz-event        a click in this element is tracked as this event ("click" where it is empty), with or without
 *                        data-auto. Of several around a click, the innermost counts.
 *   data-pz-item         the item, of this element and of all within
 *   data-pz-rec          the recommendation that shows the items within, as Amazon Personalize gave it
 *   data-pz-source       what shows the items within, for metric attribution: data-pz-source="search"
 *   data-pz-list         a list, whose visible items are one impression; lists of one name are one
 *   data-pz-value, data-pz-props, data-pz-impression
 *                        on the element with data-pz-event: a number; a JSON object; item ids between blanks or commas
 *
 * What data-auto tracks
 *   page         "view" when the page is shown, again when it comes back from the back/forward cache, and whenever an
 *                app changes its URL (an anchor is no change, a router's #/… is). Its item is the one on <body> or <html>;
 *                without an item there is no event, here and below.
 *   click        "click" on any element in or with data-pz-item, unless a data-pz-event is around the click. The middle
 *                button, which opens a link in another tab, counts as well.
 *   impression   no event: what was at least half visible for a second is the impression of the next event of an item
 *                of its block, which is what shares a data-pz-rec, else the nearest data-pz-list, else the page. In the
 *                order of the page, with the event's item, 25 items and 1,000 characters at most, each once in a view.
 *   media        "play", "pause", "resume", "ended", and "progress" at 25, 50 and 75 %, of <video> and <audio> in the
 *                page; eventValue is the percentage played. A second small file is loaded for it, from the same folder,
 *                under a name with the hash of its content. The tag's integrity attribute does not cover it.
 *
 * Amazon Personalize learns from the types that a solution is configured with; e-commerce domains want "View" and
 * "Purchase", video-on-demand domains "Watch": track those by a call or by data-pz-event.
 *
 * Recommendations: an event with an item and a recommendation lets the later events of that item, in the same session,
 * bear the recommendation too, so that a purchase does without being told. Sources likewise; the latest event that
 * gives a recommendation or a source counts for both.
 *
 * Purchases: a "purchase" with an orderId (an option, or a property) has an eventId that this browser remembers for the
 * order and the item. A thank-you page that is loaded again thus counts once. One event for each item: sum up
 * quantities. Where the browser blocks storage, the eventId is lost with the page.
 *
 * Under a Content Security Policy: script-src and connect-src with the gateway's origin, nothing else. Trusted Types
 * need no policy.
 *
 * Kept in localStorage, under keys that begin with `pz:<site>`: events until the gateway has them (200, 128 KB, 24 hours
 * at most), the session's tag and first name, what recommended the items that were clicked, and the eventIds of purchases
 * (50 of both together).
 */

/**
 * The site's event types, each with its properties: a project narrows `track` by declaring them, with what
 * `personalize-gateway types SITE` prints. While it is empty, any type and any properties will do.
 */
interface PzEvents {}

type PzEventType = keyof PzEvents extends never ? string : keyof PzEvents & string;
type PzPropertiesOf<Type> = Type extends keyof PzEvents ? PzEvents[Type] : PzProperties;

/** Properties are scalars: PutEvents has a map of strings. */
type PzProperties = Record<string, string | number | boolean | null | undefined>;

type PzConsent = 'granted' | 'denied' | 'pending';
type PzAuto = 'page' | 'click' | 'impression' | 'media';

interface PzTrackOptions<Properties = PzProperties> {
  /** The item that the event is about. */
  itemId?: string | number;
  /** A number that goes with the event, such as a price. */
  eventValue?: number | string;
  /** More about the event: camelCase keys, at most 1024 characters as JSON. */
  properties?: Properties | string;
  /** The recommendation that showed the item, as Amazon Personalize gave it. */
  recommendationId?: string;
  /** What showed the item, for metric attribution, such as "search". */
  source?: string;
  /** Ids of the items that were shown together, 25 at most. */
  impression?: string[];
  /** The event's own id, where it has one: an event counts once, however often it is tracked under the same id. */
  eventId?: string;
  /** Of a purchase: its order, so that it counts once however often it is tracked. It is not sent. */
  orderId?: string | number;
}

interface PzIdentifyOptions {
  /** The site's proof of the user id, where the gateway asks for one. */
  signature?: string;
}

/** An event as it goes to the gateway. */
interface PzEvent extends Omit<PzTrackOptions, 'itemId' | 'eventValue' | 'eventId' | 'orderId' | 'source'> {
  metricAttribution?: { eventAttributionSource: string };
  eventId: string;
  eventType: string;
  itemId?: string;
  eventValue?: number;
  /** When it happened, in seconds since 1970. */
  sentAt: number;
}

/**
 * The steps of an event's life. `held`: the gateway could not take it now, and is asked again. `dropped`: it waited for
 * longer than a day, or too many waited. The gateway has a reason not to count it: `gpc` and `dnt` (the browser's wish),
 * `bot`, `duplicate`.
 */
type PzStep = 'queued' | 'sent' | 'accepted' | 'refused' | 'held' | 'dropped' | 'gpc' | 'dnt' | 'bot' | 'duplicate';

interface Pz {
  /** Records an event; it is delivered soon, and survives the page. */
  <Type extends PzEventType>(call: 'track', eventType: Type, options?: PzTrackOptions<PzPropertiesOf<Type>>): void;
  /** Says who the visitor is, for the events from now on. Without an id: nobody known. */
  (call: 'identify', userId?: string | number | null, options?: PzIdentifyOptions): void;
  /** The visitor logged out: forgets the user, and the next event begins a new session. */
  (call: 'reset'): void;
  /**
   * Whether events may be stored and sent. `pending`: they wait in the page's memory. `denied`: what waits is gone, and
   * what the snippet stored too. The page says so each time; the answer is not remembered.
   */
  (call: 'consent', state: PzConsent): void;
  /** Sends what waits, now. */
  (call: 'flush'): void;
  /** Hears of the session once the gateway has named it, and of each change: log-in, log-out, another tab's. */
  (call: 'session', hear: (session: { sessionId: string; userId?: string }) => void): void;
  /** Tells each step of each event: to the console, or to a function. */
  (call: 'debug', on: boolean | ((step: PzStep, event: PzEvent) => void)): void;
  /** The site's key; the snippet has loaded. */
  readonly site?: string;
  /** How many events this page had to drop. */
  readonly dropped?: number;
}

interface Window {
  pz: Pz;
}

declare const pz: Pz;
