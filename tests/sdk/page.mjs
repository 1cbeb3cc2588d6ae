// Bundled into a page, where the suite calls it.
import { putEvents } from "./sdk.mjs";

globalThis.putEvents = putEvents;
