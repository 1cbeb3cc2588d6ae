/** An event as PutEvents accepted it. */
export interface AcceptedEvent {
  trackingId: string;
  sessionId: string;
  userId?: string;
  eventId: string;
  eventType: string;
  itemId?: string;
  eventValue?: number;
  /** A JSON object of strings. */
  properties?: string;
  recommendationId?: string;
  impression?: string[];
  /** In seconds since 1970. */
  sentAt: number;
}

/** What an event must have; `properties` may be given as an object, of which those named are compared. */
export type ExpectedEvent = Partial<Omit<AcceptedEvent, 'properties'>> & {
  properties?: string | Record<string, string | number | boolean>;
};

/** Waits until PutEvents has accepted an event like this, 10 seconds at most, and returns it. */
export function expectEvent(
  sandboxUrl: string,
  partial: ExpectedEvent,
  options?: { timeout?: number },
): Promise<AcceptedEvent>;

/** Has the sandbox forget what it received, before the next test. */
export function clearEvents(sandboxUrl: string): Promise<void>;
