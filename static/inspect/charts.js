// Small charts of the last minutes, as SVG, with what they show in words for who can't see them.

const WIDTH = 300, HEIGHT = 72, EVERY = 5; // viewBox, and seconds a point
const SVG = 'http://www.w3.org/2000/svg';

export function number(value) {
  if (value >= 10000) return new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 }).format(value);
  return value >= 100 || Number.isInteger(value) ? Math.round(value).toLocaleString('en') : value.toFixed(1);
}

/** Ticks → for each thing that happens a list of points: how often, the sum and the most in each. */
export function points(ticks, now, seconds) {
  const length = seconds / EVERY, end = Math.floor(now / EVERY), all = {};
  for (const [second, what, count, total, most] of ticks) {
    const place = length - (end - Math.floor(second / EVERY)) - 1;
    if (place < 0 || place >= length) continue;
    const list = all[what] || (all[what] = Array.from({ length }, () => null));
    const point = list[place] || (list[place] = { count: 0, total: 0, most: 0 });
    // How deep the queue is adds up to nothing: its last word counts.
    if (what === 'depth') Object.assign(point, { count, total, most });
    else Object.assign(point, { count: point.count + count, total: point.total + total, most: Math.max(point.most, most) });
  }
  return (what, value) => (all[what] || Array.from({ length }, () => null)).map((point) => point && value(point));
}

export const rate = (point) => point.count / EVERY;
export const mean = (point) => point.total / point.count;

/**
 * Draw lines: [{name, values, text, unit}], the first one filled; those with a unit of their own have
 * a scale of their own. A gap is drawn as 0 where `gaps` is false.
 */
export function draw(id, title, lines, { least = 1, gaps = false } = {}) {
  const svg = document.getElementById('chart-' + id), legend = document.getElementById('legend-' + id);
  const highest = (of) => Math.max(least, ...of.flatMap(({ values }) => values.map((value) => value || 0)));
  const most = highest(lines.filter(({ unit }) => !unit));
  document.getElementById('top-' + id).textContent = number(most);
  svg.setAttribute('viewBox', '0 0 ' + WIDTH + ' ' + HEIGHT);
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-label', title + ', last 5 minutes: ' + lines.map(({ name, text }) => name + ' ' + text).join(', '));
  svg.replaceChildren(...lines.filter(({ values }, index) => !index || values.some(Boolean)).flatMap((line) =>
    runs(line.values, gaps).flatMap((run) => shapes(run, line, line.unit ? highest([line]) : most, line === lines[0]))));
  legend.replaceChildren(...lines.map(({ name, text }) => entry(name, text)));
}

/** Runs of points without a gap between them, as [place, value]. */
function runs(values, gaps) {
  const found = [[]];
  values.forEach((value, place) => {
    if (value !== null || !gaps) found.at(-1).push([place, value || 0]);
    else if (found.at(-1).length) found.push([]);
  });
  return found.filter((run) => run.length).map((run) => ({ run, length: values.length }));
}

function shapes({ run, length }, { name }, most, filled) {
  const spot = ([place, value]) => [(place + 0.5) * WIDTH / length, HEIGHT - 2 - (HEIGHT - 6) * value / most];
  const spots = run.map(spot);
  if (spots.length === 1) spots.push([spots[0][0] + 2, spots[0][1]]); // else a point alone is not seen
  const path = spots.map(([x, y]) => x.toFixed(1) + ' ' + y.toFixed(1)).join(' L ');
  const line = shape('M ' + path, 'line', name);
  if (!filled) return [line];
  const area = 'M ' + spots[0][0].toFixed(1) + ' ' + HEIGHT + ' L ' + path + ' L ' + spots.at(-1)[0].toFixed(1) + ' ' + HEIGHT + ' Z';
  return [shape(area, 'area', name), line];
}

function shape(path, className, name) {
  const made = document.createElementNS(SVG, 'path');
  made.setAttribute('d', path);
  made.setAttribute('class', className);
  made.dataset.line = name;
  return made;
}

function entry(name, text) {
  const made = document.createElement('div'), term = document.createElement('dt'), value = document.createElement('dd');
  made.dataset.line = name;
  term.textContent = name;
  value.textContent = text;
  made.append(term, value);
  return made;
}
