import { StrictMode, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { flush } from 'personalize-gateway';
import { PersonalizeProvider, usePersonalize, useTrack } from 'personalize-gateway/react';

function Product({ id }: { id: string }) {
  useTrack('view', { itemId: id });
  const { session, track } = usePersonalize();

  function buy() {
    track('purchase', { itemId: id, eventValue: 24, properties: { colour: 'blue', gift: true } });
    flush();
  }
  const slip = () => track('click', JSON.parse('{"itemid": "mug"}'));

  return (
    <>
      <button data-testid="buy" onClick={buy}>Buy the {id}</button>
      <output data-testid="session">{session?.sessionId} of {session?.userId ?? 'nobody'}</output>
      <button data-testid="slip" onClick={slip}>Slip</button>
    </>
  );
}

function Shop() {
  const [user, setUser] = useState<string | null>('u-17');
  const [item, setItem] = useState('mug');

  return (
    <PersonalizeProvider gateway={import.meta.env.VITE_GATEWAY} site="shop" userId={user}>
      <Product id={item} />
      <button data-testid="next" onClick={() => setItem('cup')}>Next</button>
      <button data-testid="log-out" onClick={() => setUser(null)}>Log out</button>
    </PersonalizeProvider>
  );
}

createRoot(document.getElementById('root')!).render(<StrictMode><Shop /></StrictMode>);
