// node node.mjs ENDPOINT CALLS: prints the outcomes, all as JSON.
import { putEvents } from "./sdk.mjs";

const [endpoint, calls] = process.argv.slice(2);
console.log(JSON.stringify(await putEvents(endpoint, JSON.parse(calls))));
