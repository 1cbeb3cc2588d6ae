'use client';

import { useState } from 'react';
import { debug, track } from 'personalize-gateway';

export function Developer() {
  const [steps, setSteps] = useState(0);

  return (
    <>
      <button data-testid="slip" onClick={() => track('click', JSON.parse('{"itemid": "mug"}'))}>Slip</button>
      <button data-testid="debug" onClick={() => debug(() => setSteps((count) => count + 1))}>Debug: {steps}</button>
    </>
  );
}
