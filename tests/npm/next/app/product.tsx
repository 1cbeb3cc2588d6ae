'use client';

import { flush, track } from 'personalize-gateway';
import { useTrack } from 'personalize-gateway/react';

export function Product({ id }: { id: string }) {
  useTrack('view', { itemId: id });

  function buy() {
    track('purchase', { itemId: id, eventValue: 24, properties: { colour: 'blue', gift: true } });
    flush();
  }

  return <button data-testid="buy" onClick={buy}>Buy the {id}</button>;
}
