// The shop. Everything it tells Amazon Personalize goes through the one function pz(),
// or through data-pz-… attributes in index.html.
'use strict';

// The stub keeps what is called before the snippet has loaded.
window.pz = window.pz || function () { (pz.q = pz.q || []).push(arguments); };

// An ordinary page has the tag in its HTML: <script async src="…/static/pz.js" data-site="shop"></script>
// This one first asks which site it is.
fetch('config.json').then((answer) => answer.json()).then(({ site }) => {
  const script = document.createElement('script');
  script.async = true;
  script.src = '../static/pz.js';
  script.dataset.site = site;
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

const state = Object.assign({ user: null, cart: {}, hearts: [] }, JSON.parse(sessionStorage.getItem('shop') || '{}'));

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

function add(item, attributes) {
  state.cart[item.id] = (state.cart[item.id] || 0) + 1;
  pz('track', 'add_to_cart', { itemId: item.id, eventValue: item.price, ...attributes });
  say(item.name + ' is in the cart.');
  keep();
}

function remove(item) {
  delete state.cart[item.id];
  pz('track', 'remove_from_cart', { itemId: item.id });
  say(item.name + ' is out of the cart.');
  keep();
}

// One purchase for each item; the snippet sends purchases at once.
function checkOut() {
  const orderId = 'order-' + Date.now().toString(36);
  for (const [id, quantity] of Object.entries(state.cart)) {
    pz('track', 'purchase', {
      itemId: id,
      eventValue: product(id).price * quantity,
      properties: { orderId, quantity },
    });
  }
  state.cart = {};
  say('Thank you. That was ' + orderId + '.');
  keep();
}

function heart(item) {
  const loved = state.hearts.includes(item.id);
  state.hearts = loved ? state.hearts.filter((id) => id !== item.id) : [...state.hearts, item.id];
  pz('track', loved ? 'unfavorite' : 'favorite', { itemId: item.id });
  keep();
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

function card(item, { recommendationId, testPrefix = '' } = {}) {
  const element = fromTemplate('product', item);
  element.dataset.pzItem = item.id;
  element.dataset.testid = testPrefix + 'product-' + item.id;
  const [open, love, buy] = element.querySelectorAll('button');
  open.dataset.testid = testPrefix + 'open-' + item.id;
  open.addEventListener('click', () => show(item));
  love.dataset.testid = testPrefix + 'heart-' + item.id;
  love.setAttribute('aria-label', 'Favourite: ' + item.name);
  love.addEventListener('click', () => heart(item));
  buy.dataset.testid = testPrefix + 'add-' + item.id;
  buy.setAttribute('aria-label', 'Add to cart: ' + item.name);
  buy.addEventListener('click', () => add(item, { recommendationId }));
  return element;
}

// A product's page, with what a recommender would put beneath it: its id goes along with what comes of it.
function show(item) {
  const recommendationId = 'goes-well-with-' + item.id;
  const sheet = fromTemplate('detail-product', item);
  sheet.dataset.pzItem = item.id;
  sheet.querySelector('.text').textContent = item.text;
  const buy = sheet.querySelector('.add');
  buy.dataset.testid = 'detail-add';
  buy.addEventListener('click', () => add(item));
  byId('detail').querySelector('.detail-product').replaceChildren(sheet);
  byId('pairs').dataset.pzRec = recommendationId;
  byId('pairs').replaceChildren(...item.pairs.map((id) =>
    card(product(id), { recommendationId, testPrefix: 'pair-' })));
  pz('track', 'impression', { recommendationId, impression: item.pairs });
  turnTo('detail');
  drawHearts();
  byId('detail-name').focus({ preventScroll: true });
}

function turnTo(section) {
  byId('shelf').hidden = section !== 'shelf';
  byId('detail').hidden = section !== 'detail';
}

function drawPeople() {
  const person = people.find(({ id }) => id === state.user);
  byId('hello').textContent = person ? 'Hello, ' + person.name : 'Log in as';
  byId('people').hidden = Boolean(person);
  byId('logout').hidden = !person;
}

function drawHearts() {
  for (const button of document.querySelectorAll('.heart')) {
    button.setAttribute('aria-pressed', state.hearts.includes(button.parentElement.dataset.pzItem));
  }
}

function drawCart() {
  const lines = Object.entries(state.cart).map(([id, quantity]) => ({ item: product(id), quantity }));
  byId('cart-lines').replaceChildren(...lines.map(({ item, quantity }) => {
    const line = fromTemplate('line', item);
    line.dataset.testid = 'line-' + item.id;
    line.querySelector('.name').textContent = item.name + (quantity > 1 ? ' × ' + quantity : '');
    line.querySelector('.price').textContent = euro(item.price * quantity);
    const button = line.querySelector('.remove');
    button.dataset.testid = 'remove-' + item.id;
    button.setAttribute('aria-label', 'Remove: ' + item.name);
    button.addEventListener('click', () => remove(item));
    return line;
  }));
  byId('cart-count').textContent = lines.reduce((sum, { quantity }) => sum + quantity, 0);
  byId('cart-empty').hidden = lines.length > 0;
  byId('total').textContent = euro(lines.reduce((sum, { item, quantity }) => sum + item.price * quantity, 0));
  byId('checkout').disabled = !lines.length;
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
byId('back').addEventListener('click', () => turnTo('shelf'));
if (state.user) pz('identify', state.user);
keep();
