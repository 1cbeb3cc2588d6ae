import { Product } from '../product';

export default function Page() {
  return <Product id="cup" />;
}
