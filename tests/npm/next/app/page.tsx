import Link from 'next/link';
import { Product } from './product';

export default function Page() {
  return (
    <>
      <Product id="mug" />
      <Link href="/cup" data-testid="next">Next</Link>
    </>
  );
}
