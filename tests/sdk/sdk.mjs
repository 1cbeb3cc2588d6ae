// What an AWS user writes, for Node and for a page alike; the endpoint is all that is ours.
import {
  InvalidInputException,
  PersonalizeEventsClient,
  PutEventsCommand,
} from "@aws-sdk/client-personalize-events";

/** Send PutEvents calls one by one; what became of each. */
export async function putEvents(endpoint, calls) {
  const client = new PersonalizeEventsClient({
    endpoint,
    region: "us-east-1",
    credentials: { accessKeyId: "test", secretAccessKey: "test" },
  });
  const outcomes = [];
  for (const call of calls) {
    outcomes.push(await client.send(new PutEventsCommand(withDates(call))).then(success, failure));
  }
  return outcomes;
}

const withDates = (call) => ({
  ...call,
  eventList: call.eventList.map((event) => ({ ...event, sentAt: new Date(event.sentAt * 1000) })),
});

const success = (answer) => ({ status: answer.$metadata.httpStatusCode });

const failure = (error) => ({
  status: error.$metadata?.httpStatusCode,
  error: error.name,
  message: error.message,
  typed: error instanceof InvalidInputException,
});
