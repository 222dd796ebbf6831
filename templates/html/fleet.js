'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const $ = id => document.getElementById(id);
const make = (name, props, ...children) => {
  const element = Object.assign(document.createElement(name), props);
  element.append(...children);
  return element;
};
const VERDICTS = { '+': 'ready', '~': 'pending', '?': 'unknown', 'x': 'not ready' };
const CLASSES = { '+': 'good', '~': 'warn', '?': 'calm', 'x': 'bad' };
const RANK = { 'x': 0, '?': 1, '~': 2, '+': 3 };
const PAGE = 50, COLUMNS = 64, SHOWN = 12;
const number = n => n.toLocaleString('en');
const collator = new Intl.Collator('en', { numeric: true });
const hosts = data.hosts.map(([name, group, stacks, traits, states, report]) => ({
  name, group, stacks, states: data.states[states], report, low: name.toLowerCase(), verdict: data.groups[group][0],
  traits: data.traits.map((trait, at) => trait[1][traits[at]]),
}));
const trait = name => data.traits.findIndex(each => each[0] === name);
const [PROFILE, BOARD, KERNEL] = ['profile', 'board', 'kernel'].map(trait);
/* By numbers, as texts take long to compare. */
const ranks = texts => new Map([...new Set(texts)].sort(collator.compare).map((text, at) => [text, at]));
const names = ranks(hosts.map(host => host.name)), kernels = ranks(data.traits[KERNEL][1]), profiles = ranks(data.traits[PROFILE][1]);
hosts.forEach(host => host.rank = names.get(host.name));
const KEYS = {
  name: host => host.rank,
  verdict: host => RANK[host.verdict],
  blockers: host => data.groups[host.group][2].length,
  profile: host => profiles.get(host.traits[PROFILE]),
  kernel: host => kernels.get(host.traits[KERNEL]),
};
let found = hosts, page = 0, sort = ['verdict', 1], allChecks = false;

const options = (id, values) => values.forEach(([value, text]) => $(id).append(make('option', { value, textContent: text })));
options('verdict', Object.entries(VERDICTS));
options('stack', data.stacks.map((name, at) => [at, name]));
options('check', data.checks.map((name, at) => [name, at]).sort().map(([name, at]) => [at, name]));
const named = at => [...data.traits[at][1]].sort(collator.compare).map(name => [name, name]);
options('profile', named(PROFILE));
options('board', named(BOARD));
options('kernel', named(KERNEL));

function filter() {
  const search = $('search').value.trim().toLowerCase();
  const [verdict, stack, check, profile, board, kernel] =
    ['verdict', 'stack', 'check', 'profile', 'board', 'kernel'].map(id => $(id).value);
  found = hosts.filter(host =>
    (!search || host.low.includes(search) || host.report.toLowerCase().includes(search)) &&
    (stack === '' ? !verdict || host.verdict === verdict
      : verdict ? host.stacks[stack] === verdict : host.stacks[stack] !== '.') &&
    (check === '' || '-~?x'.includes(host.states[check])) &&
    (!profile || host.traits[PROFILE] === profile) &&
    (!board || host.traits[BOARD] === board) &&
    (!kernel || host.traits[KERNEL] === kernel));
  const text = found.length === hosts.length ? `${number(hosts.length)} hosts`
    : `${number(found.length)} of ${number(hosts.length)} hosts`;
  $('count').textContent = text;
  document.querySelectorAll('#map .plain').forEach(button =>
    button.setAttribute('aria-pressed', String(button.value === check && check !== '')));
  page = 0;
  picture();
  order();
}

function order() {
  const [key, direction] = sort, of = KEYS[key];
  found.sort((a, b) => direction * (of(a) - of(b)) || a.rank - b.rank);
  document.querySelectorAll('#hosts th').forEach(head => {
    const button = head.querySelector('button');
    if (!button) return;
    const sorted = button.value === key;
    if (sorted) head.setAttribute('aria-sort', direction > 0 ? 'ascending' : 'descending');
    else head.removeAttribute('aria-sort');
    button.lastChild.textContent = sorted ? direction > 0 ? ' \u25b4' : ' \u25be' : '';
  });
  rows();
}

function rows() {
  const last = Math.max(Math.ceil(found.length / PAGE) - 1, 0);
  page = Math.min(Math.max(page, 0), last);
  $('rows').replaceChildren(...found.slice(page * PAGE, page * PAGE + PAGE).map(row));
  if (!found.length) $('rows').append(make('tr', {}, make('td', { colSpan: 5, textContent: 'No host is like that.' })));
  $('page').textContent = `Page ${number(page + 1)} of ${number(last + 1)}`;
  $('previous').disabled = page === 0;
  $('next').disabled = page === last;
}

function row(host) {
  const [, , blockers] = data.groups[host.group];
  const button = make('button', { className: 'plain', type: 'button', textContent: host.name });
  button.setAttribute('aria-expanded', 'false');
  const cell = (text, className) => make('td', { className, textContent: text });
  const line = make('tr', {}, make('td', { className: 'name' }, button), verdict(host.verdict),
    cell(blockers.map(check => data.checks[check]).join(', '), ''),
    cell(host.traits[PROFILE], 'wide'), cell(host.traits[KERNEL], 'wide'));
  button.addEventListener('click', () => toggle(line, button, host));
  return line;
}

function verdict(mark) {
  const name = VERDICTS[mark];
  return make('td', { className: CLASSES[mark] },
    make('span', { className: 'mark', textContent: mark, ariaHidden: 'true' }), name);
}

function toggle(line, button, host) {
  const open = button.getAttribute('aria-expanded') === 'true';
  button.setAttribute('aria-expanded', String(!open));
  if (open) return line.nextSibling.remove();
  const list = make('dl');
  const entry = (title, ...text) => list.append(make('dt', { textContent: title }), make('dd', {}, ...text));
  const repairs = data.groups[host.group][3];
  repairs.forEach(([check, fixable, summary]) =>
    entry(data.checks[check], `${fixable ? 'edgeprep fix: ' : ''}${summary}`));
  [['x', 'not met'], ['~', 'pending'], ['?', 'not known'], ['-', 'advised']].forEach(([mark, title]) => {
    const ids = data.checks.filter((_, at) => host.states[at] === mark);
    if (ids.length) entry(title, ids.join(', '));
  });
  entry('stacks', data.stacks.map((name, at) => [name, host.stacks[at]]).filter(([, mark]) => mark !== '.')
    .map(([name, mark]) => `${name} ${VERDICTS[mark]}`).join(', '));
  data.traits.forEach(([name], at) => entry(name, host.traits[at]));
  entry('report', make('code', { textContent: host.report }));
  line.after(make('tr', { className: 'more' }, make('td', { colSpan: 5 }, list)));
}

/* The picture of the hosts that were found: as the program draws it of all. */
function picture() {
  const inOrder = [...found].sort((a, b) => a.group - b.group);
  const columns = Math.min(COLUMNS, inOrder.length);
  const marks = ['x', '?', '~', '-'].map(mark => mark.charCodeAt(0));
  let shown = 0;
  document.querySelectorAll('#map tbody tr').forEach(line => {
    const check = Number(line.dataset.check), totals = [0, 0, 0, 0], cells = [];
    for (let column = 0; column < columns; column++) {
      const from = Math.floor(column * inOrder.length / columns), to = Math.floor((column + 1) * inOrder.length / columns);
      const counts = [0, 0, 0, 0];
      for (let at = from; at < to; at++) {
        const kind = marks.indexOf(inOrder[at].states.charCodeAt(check));
        if (kind >= 0) counts[kind]++;
      }
      counts.forEach((count, kind) => totals[kind] += count);
      cells.push(counts.map(count => Math.max(Math.floor(count * 100 / (to - from)), Number(count > 0))));
    }
    const any = totals.some(count => count > 0);
    line.hidden = !any || !allChecks && shown >= SHOWN;
    shown += Number(any);
    const svg = line.querySelector('svg');
    svg.setAttribute('viewBox', `0 0 ${Math.max(columns, 1)} 100`);
    [...svg.children].forEach((path, kind) => path.setAttribute('d', strip(cells, kind)));
    const shares = [totals[0], totals[2], totals[1], totals[3]];
    line.querySelectorAll('td.n').forEach((cell, at) => cell.textContent = shares[at] ? number(shares[at]) : '');
  });
  $('all').hidden = shown <= SHOWN;
  $('all').textContent = allChecks ? 'Show fewer checks' : `Show all ${shown} checks`;
}

function strip(cells, kind) {
  let path = '';
  for (let at = 0, next; at < cells.length; at = next) {
    const under = cells[at].slice(0, kind).reduce((sum, share) => sum + share, 0), height = cells[at][kind];
    for (next = at + 1; next < cells.length && String(cells[next]) === String(cells[at]); next++);
    if (height) path += `M${at} ${100 - under}h${next - at}v-${height}h-${next - at}z`;
  }
  return path;
}

document.querySelectorAll('#map tbody th').forEach(head => {
  const button = make('button', { className: 'plain', type: 'button', value: head.parentNode.dataset.check, textContent: head.textContent });
  button.title = head.title;
  head.replaceChildren(button);
  button.addEventListener('click', () => {
    $('check').value = button.getAttribute('aria-pressed') === 'true' ? '' : button.value;
    filter();
  });
});
document.querySelectorAll('#hosts th button').forEach(button => button.addEventListener('click', () => {
  sort = [button.value, sort[0] === button.value ? -sort[1] : 1];
  page = 0;
  order();
}));
document.querySelectorAll('#filters input, #filters select').forEach(field => field.addEventListener('input', filter));
$('clear').addEventListener('click', () => {
  document.querySelectorAll('#filters input, #filters select').forEach(field => field.value = '');
  filter();
  $('search').focus();
});
$('previous').addEventListener('click', () => { page--; rows(); });
$('next').addEventListener('click', () => { page++; rows(); });
$('all').addEventListener('click', () => { allChecks = !allChecks; picture(); });
document.addEventListener('keydown', event => {
  const target = event.target, inField = /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName);
  if (event.key === '/' && !inField) {
    event.preventDefault();
    $('search').focus();
  } else if (event.key === 'Escape' && target === $('search')) {
    $('search').value = '';
    filter();
  } else if (event.key === 'Escape' && $('rows').contains(target)) {
    const line = target.closest('tr');
    const button = (line.className === 'more' ? line.previousSibling : line).querySelector('button');
    if (button.getAttribute('aria-expanded') === 'true') button.click();
    button.focus();
  } else if ((event.key === 'ArrowDown' || event.key === 'ArrowUp') && $('rows').contains(target)) {
    event.preventDefault();
    const buttons = [...$('rows').querySelectorAll('button')];
    const to = buttons[buttons.indexOf(target) + (event.key === 'ArrowDown' ? 1 : -1)];
    if (to) to.focus();
  }
});
document.querySelectorAll('.script').forEach(part => part.hidden = false);
filter();
