// node expect.mjs SANDBOX EVENT [TIMEOUT]: prints the event, or why there is none.
import { clearEvents, expectEvent } from 'personalize-gateway/testing';

const [sandbox, event, timeout] = process.argv.slice(2);
try {
  console.log(JSON.stringify(await expectEvent(sandbox, JSON.parse(event), timeout && { timeout: +timeout })));
  await clearEvents(sandbox);
} catch (error) {
  console.log(error.message);
}
