// The shop. What it tells Amazon Personalize goes through data-pz-… attributes in index.html, or through the one
// function pz(); views of items, clicks on items with what was seen beside them, and listening are tracked of themselves.
'use strict';

// An ordinary page has the tag in its HTML: <script async src="…/static/pz.js" data-site="shop" …></script>
// This one first asks which site it is.
fetch('config.json').then((answer) => answer.json()).then(({ site }) => {
  const script = document.createElement('script');
  script.async = true;
  script.src = '../static/pz.js';
  script.dataset.site = site;
  script.dataset.auto = 'page click impression media';
  script.dataset.consent = localStorage.getItem('shop-consent') || 'granted';
  document.head.append(script);
});

const products = [
  { id: 'kettle', name: 'Gooseneck kettle', price: 89, pairs: ['dripper', 'beans', 'mug'], text: 'A thin, steady stream that goes where you point it. Steel, with a walnut handle.' },
  { id: 'dripper', name: 'Pour-over set', price: 46, pairs: ['kettle', 'beans', 'cups'], text: 'A porcelain cone on a glass carafe. Two cups, four minutes, no hurry.' },
  { id: 'mug', name: 'Dipped mug', price: 24, pairs: ['beans', 'cups', 'press'], text: 'Thrown by hand, dipped once, fired twice. Holds a quarter of a litre of patience.' },
  { id: 'grinder', name: 'Hand grinder', price: 72, pairs: ['beans', 'moka', 'dripper'], text: 'Forty turns for one cup. The quietest grinder in the house, and the best arm exercise.' },
  { id: 'moka', name: 'Moka pot', price: 39, pairs: ['grinder', 'cups', 'beans'], text: 'Three small cups of something strong, and the sound that says they are ready.' },
  { id: 'beans', name: 'Night Train beans', price: 14, pairs: ['grinder', 'press', 'moka'], text: 'A dark roast from Huila: cocoa, plum, a little smoke. 250 g.' },
  { id: 'press', name: 'French press', price: 52, pairs: ['beans', 'mug', 'grinder'], text: 'Borosilicate glass and a fine steel mesh. Press slowly.' },
  { id: 'cups', name: 'Stacking cups', price: 34, pairs: ['moka', 'dripper', 'beans'], text: 'Four espresso cups in four glazes. They stack, and nobody fights over the blue one.' },
];
const people = [{ id: 'ana', name: 'Ana' }, { id: 'ben', name: 'Ben' }, { id: 'chie', name: 'Chie' }];

const byId = (id) => document.getElementById(id);
const product = (id) => products.find((one) => one.id === id);
const euro = (amount) => '€' + amount;
const say = (words) => { byId('said').textContent = words; };

// --- What the shop remembers, as a shop's server would ---

const state = Object.assign({ user: null, cart: {}, hearts: [], orders: {} }, JSON.parse(sessionStorage.getItem('shop') || '{}'));

function keep() {
  sessionStorage.setItem('shop', JSON.stringify(state));
  drawPeople();
  drawHearts();
  drawCart();
}

// --- Log-in ---

function logIn(person) {
  state.user = person.id;
  pz('identify', person.id);
  say('Hello, ' + person.name + '.');
  keep();
}

function logOut() {
  state.user = null;
  pz('reset');
  say('Logged out: the next event begins a new session.');
  keep();
}

// --- Cart ---

function add(item) {
  state.cart[item.id] = (state.cart[item.id] || 0) + 1;
  say(item.name + ' is in the cart.');
  keep();
}

function remove(item) {
  delete state.cart[item.id];
  pz('track', 'remove_from_cart', { itemId: item.id });
  say(item.name + ' is out of the cart.');
  keep();
}

function checkOut() {
  const orderId = 'order-' + Date.now().toString(36);
  state.orders[orderId] = state.cart;
  state.cart = {};
  say('');
  keep();
  go('?order=' + orderId);
}

function heart(item) {
  const loved = state.hearts.includes(item.id);
  state.hearts = loved ? state.hearts.filter((id) => id !== item.id) : [...state.hearts, item.id];
  keep();
}

// --- Pages: one document, an address for each, as in most shops of today ---

function go(address) {
  history.pushState(null, '', address);
  turn();
}

function turn() {
  const wanted = new URLSearchParams(location.search);
  const item = product(wanted.get('product'));
  const order = state.orders[wanted.get('order')];
  // What the page is about, for the snippet's page view.
  if (item) document.body.dataset.pzItem = item.id;
  else delete document.body.dataset.pzItem;
  if (item) show(item);
  if (order) thank(wanted.get('order'), order);
  byId('shelf').hidden = Boolean(item || order);
  byId('detail').hidden = !item;
  byId('thanks').hidden = !order;
  drawHearts();
}

function show(item) {
  const sheet = fromTemplate('detail-product', item);
  sheet.dataset.pzItem = item.id;
  sheet.querySelector('.text').textContent = item.text;
  const buy = sheet.querySelector('.add');
  buy.dataset.testid = 'detail-add';
  buy.dataset.pzValue = item.price;
  buy.addEventListener('click', () => add(item));
  byId('detail').querySelector('.detail-product').replaceChildren(sheet);
  drawPairs(item.pairs);
  recommend();
  byId('detail-name').focus({ preventScroll: true });
}

// --- Recommendations: what the editor put beneath a product, in the order that suits the visitor ---

// A shop's own server would ask Personalize; this one's answers in its place. Who is not logged in is asked for by
// the session's ID.
let visitor;
pz('session', ({ sessionId, userId }) => {
  visitor = userId || sessionId;
  recommend();
});

async function recommend() {
  const page = location.search;
  const item = product(new URLSearchParams(page).get('product'));
  if (!item || !visitor) return;
  const asked = visitor;
  const query = new URLSearchParams({ userId: asked, inputList: item.pairs });
  const answer = await fetch('ranking?' + query).catch(() => {});
  if (!answer?.ok) return; // the editor's order stays
  const { personalizedRanking, recommendationId } = await answer.json();
  if (location.search !== page || visitor !== asked) return; // another answer is on its way
  drawPairs(personalizedRanking.map(({ itemId }) => itemId), recommendationId);
  byId('fact-ranked').textContent = asked.slice(0, 8);
  byId('fact-ranked').title = asked;
}

// The recommendation's ID goes along with what comes of it, up to the purchase.
function drawPairs(ids, recommendationId) {
  if (recommendationId) byId('pairs').dataset.pzRec = recommendationId;
  else delete byId('pairs').dataset.pzRec;
  byId('pairs').replaceChildren(...ids.map((id) => card(product(id), 'pair-')));
}

// One purchase for each item; the snippet sends purchases at once. The order gives each its id.
function thank(orderId, order) {
  for (const [id, quantity] of Object.entries(order)) {
    pz('track', 'purchase', {
      itemId: id,
      eventValue: product(id).price * quantity,
      properties: { orderId, quantity },
    });
  }
  byId('order-id').textContent = orderId;
  byId('order-lines').replaceChildren(...lines(order).map((line) => drawn(line)));
  byId('thanks-title').focus({ preventScroll: true });
}

// --- Drawing ---

function fromTemplate(name, item) {
  const element = byId(name).content.firstElementChild.cloneNode(true);
  element.dataset.tone = item.id;
  element.querySelector('use').setAttribute('href', '../static/demo/art.svg#' + item.id);
  element.querySelector('.name').textContent = item.name;
  element.querySelector('.price').textContent = euro(item.price);
  return element;
}

function card(item, testPrefix = '') {
  const element = fromTemplate('product', item);
  element.dataset.pzItem = item.id;
  element.dataset.testid = testPrefix + 'product-' + item.id;
  const [open, love, buy] = element.querySelectorAll('button');
  open.dataset.testid = testPrefix + 'open-' + item.id;
  open.addEventListener('click', () => go('?product=' + item.id));
  love.dataset.testid = testPrefix + 'heart-' + item.id;
  love.setAttribute('aria-label', 'Favourite: ' + item.name);
  love.addEventListener('click', () => heart(item));
  buy.dataset.testid = testPrefix + 'add-' + item.id;
  buy.setAttribute('aria-label', 'Add to cart: ' + item.name);
  buy.dataset.pzValue = item.price;
  buy.addEventListener('click', () => add(item));
  return element;
}

function drawPeople() {
  const person = people.find(({ id }) => id === state.user);
  byId('hello').textContent = person ? 'Hello, ' + person.name : 'Log in as';
  byId('people').hidden = Boolean(person);
  byId('logout').hidden = !person;
}

function drawHearts() {
  for (const button of document.querySelectorAll('.heart')) {
    const loved = state.hearts.includes(button.parentElement.dataset.pzItem);
    button.setAttribute('aria-pressed', loved);
    button.dataset.pzEvent = loved ? 'unfavorite' : 'favorite';
  }
}

const lines = (cart) => Object.entries(cart).map(([id, quantity]) => ({ item: product(id), quantity }));

function drawn({ item, quantity }) {
  const line = fromTemplate('line', item);
  line.querySelector('.name').textContent = item.name + (quantity > 1 ? ' × ' + quantity : '');
  line.querySelector('.price').textContent = euro(item.price * quantity);
  return line;
}

function drawCart() {
  const all = lines(state.cart);
  byId('cart-lines').replaceChildren(...all.map((each) => {
    const line = drawn(each);
    line.dataset.testid = 'line-' + each.item.id;
    const button = document.createElement('button');
    button.className = 'remove';
    button.textContent = '✕';
    button.dataset.testid = 'remove-' + each.item.id;
    button.setAttribute('aria-label', 'Remove: ' + each.item.name);
    button.addEventListener('click', () => remove(each.item));
    line.append(button);
    return line;
  }));
  byId('cart-count').textContent = all.reduce((sum, { quantity }) => sum + quantity, 0);
  byId('cart-empty').hidden = all.length > 0;
  byId('total').textContent = euro(all.reduce((sum, { item, quantity }) => sum + item.price * quantity, 0));
  byId('checkout').disabled = !all.length;
}

byId('products').append(...products.map((item) => card(item)));
byId('people').append(...people.map((person) => {
  const button = document.createElement('button');
  button.className = 'person';
  button.dataset.testid = 'login-' + person.id;
  button.textContent = person.name;
  button.addEventListener('click', () => logIn(person));
  return button;
}));
byId('logout').addEventListener('click', logOut);
byId('checkout').addEventListener('click', checkOut);
for (const id of ['back', 'again']) byId(id).addEventListener('click', () => go('./'));
addEventListener('popstate', turn);
if (state.user) pz('identify', state.user);
keep();
turn();
