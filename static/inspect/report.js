// What was delivered of each site, and what training still needs. Texts of visitors go in as text.
import { number } from './charts.js';
import { element } from './life.js';

const MOST_TYPES = 10; // shown of a site, the most frequent ones
const MEMBERS = [
  ['with an item', 'with_item'], ['with a userId', 'with_user'],
  ['with a recommendation', 'with_recommendation'], ['with a source', 'with_source'],
];

export function siteCard(report) {
  const card = element('article', 'card report');
  card.dataset.site = report.site;
  card.append(
    element('h3', '', report.site),
    ...(report.interactions ? [facts(rows(report))] : []),
    element('ul', 'advice', ...report.advice.map((line) => element('li', '', line))),
  );
  return card;
}

function rows(report) {
  const share = (part) => number(part) + ' (' + Math.round(100 * part / report.interactions) + '%)';
  const types = Object.entries(report.event_types).sort(([, one], [, other]) => other - one);
  return [
    ['interactions', number(report.interactions)],
    ...MEMBERS.map(([name, member]) => [name, share(report[member])]),
    ['users', number(report.users) + (report.users_capped ? ' or more' : '')],
    ['with two or more', number(report.users_with_2)],
    ...types.slice(0, MOST_TYPES).map(([type, events]) => [type, number(events)]),
  ];
}

function facts(pairs) {
  const list = element('dl', 'facts');
  for (const [name, value] of pairs) list.append(element('dt', '', name), element('dd', '', value));
  return list;
}
