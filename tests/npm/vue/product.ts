import { computed, ref } from 'vue';
import { usePersonalize, useTrack } from 'personalize-gateway/vue';

/** What the component shows; apart from it, since tsc reads no .vue files. */
export function useProduct() {
  const item = ref('mug');
  const { flush, session, track } = usePersonalize();
  useTrack('view', () => ({ itemId: item.value }));

  function buy() {
    track('purchase', { itemId: item.value, eventValue: 24, properties: { colour: 'blue', gift: true } });
    flush();
  }
  return { buy, item, sessionId: computed(() => session.value?.sessionId) };
}
