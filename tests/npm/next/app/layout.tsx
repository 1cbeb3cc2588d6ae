import type { ReactNode } from 'react';
import { PersonalizeProvider } from 'personalize-gateway/react';
import { Developer } from './developer';

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>
        <PersonalizeProvider gateway={process.env.NEXT_PUBLIC_GATEWAY!} site="shop" userId="u-17">
          {children}
          <Developer />
        </PersonalizeProvider>
      </body>
    </html>
  );
}
