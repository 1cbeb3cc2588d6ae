'use client';

import { createContext, createElement, useContext, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { consent, flush, identify, init, reset, session as listen, track } from './index.js';

const calls = { track, identify, reset, consent, flush };
const Context = createContext({ ...calls, session: undefined });

// Effects of children run before their parents', but layout effects before all others. On the server there are none,
// and React 18 warns of them there.
const useEarlyEffect = typeof window === 'undefined' ? useEffect : useLayoutEffect;

/** Load the snippet, and say who the visitor is before any event of the children is tracked. */
export function PersonalizeProvider({ children, userId, signature, ...options }) {
  const [session, setSession] = useState();
  const known = useRef();

  useEarlyEffect(() => {
    init(options);
    return listen(setSession);
  }, []);

  useEarlyEffect(() => {
    if (userId) identify(userId, { signature });
    else if (known.current) reset();
    known.current = userId;
  }, [userId, signature]);

  const value = useMemo(() => ({ ...calls, session }), [session]);
  return createElement(Context.Provider, { value }, children);
}

/** Return the calls, and the session once the gateway has named it. */
export const usePersonalize = () => useContext(Context);

/** Track an event when the component appears, and again when the event changes. `null`: not yet. */
export function useTrack(eventType, options) {
  const tracked = useRef();
  const event = options === null ? null : JSON.stringify([eventType, options]);

  useEffect(() => {
    if (event && event !== tracked.current) track(eventType, options);
    tracked.current = event;
    // Strict mode repeats an effect at once, which is no second event. A component that is shown again later is one.
    return () => {
      setTimeout(() => {
        tracked.current = null;
      });
    };
  }, [event]);
}
