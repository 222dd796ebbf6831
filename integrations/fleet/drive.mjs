// Drives Chromium by WebDriver and says what is not as it should be: node drive.mjs FOLDER [PAGE...]
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';

const [folder, ...others] = process.argv.slice(2);
const MOST_SECONDS = 3;
const axe = readFileSync(`${folder}/node_modules/axe-core/axe.min.js`, 'utf8');
const port = 20000 + process.pid % 20000;
const failures = [];
const say = text => console.error(`fleet: ${text}`);
const check = (so, what) => {
  if (!so) failures.push(what);
  if (!so) say(`NOT SO: ${what}`);
};

const driver = spawn('chromedriver', [`--port=${port}`, '--silent'], { stdio: 'ignore' });
const gone = once(driver, 'exit');
const base = `http://127.0.0.1:${port}`;

async function call(method, path, body) {
  const answer = await fetch(base + path, {
    method, body: method === 'POST' ? JSON.stringify(body ?? {}) : undefined,
    headers: { 'content-type': 'application/json' },
  });
  const { value } = await answer.json();
  if (value?.error) throw new Error(`${path}: ${value.message.split('\n')[0]}`);
  return value;
}

async function started() {
  for (let tries = 0; tries < 300; tries++) {
    try {
      if ((await call('GET', '/status')).ready) return;
    } catch { /* not yet */ }
    await new Promise(done => setTimeout(done, 100));
  }
  throw new Error('chromedriver does not start');
}

class Browser {
  static async open() {
    const args = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--window-size=1200,1000'];
    const session = await call('POST', '/session', { capabilities: { alwaysMatch: {
      browserName: 'chrome', pageLoadStrategy: 'normal', timeouts: { pageLoad: 120000, script: 120000 },
      'goog:chromeOptions': { args, binary: '/usr/bin/chromium' },
      'goog:loggingPrefs': { browser: 'ALL', performance: 'ALL' },
    } } });
    return Object.assign(new Browser(), { path: `/session/${session.sessionId}` });
  }
  call(method, path, body) { return call(method, this.path + path, body); }
  close() { return this.call('DELETE', ''); }
  go(page) { return this.call('POST', '/url', { url: `file://${page}` }); }
  run(script, ...args) { return this.call('POST', '/execute/sync', { script, args }); }
  cdp(cmd, params = {}) { return this.call('POST', '/goog/cdp/execute', { cmd, params }); }
  log(type) { return this.call('POST', '/se/log', { type }); }
  async keys(...keys) {
    const actions = keys.flatMap(value => [{ type: 'keyDown', value }, { type: 'keyUp', value }]);
    await this.call('POST', '/actions', { actions: [{ type: 'key', id: 'keys', actions }] });
  }
  async picture(name) {
    const { data } = await this.cdp('Page.captureScreenshot', { format: 'png', captureBeyondViewport: false });
    writeFileSync(`${folder}/${name}.png`, Buffer.from(data, 'base64'));
  }
  /** Tab until what has the focus is so. */
  async tabTo(what, condition) {
    for (let tabs = 0; tabs < 200; tabs++) {
      await this.keys(TAB);
      if (await this.run(`const it = document.activeElement; return Boolean(${condition})`)) return;
    }
    throw new Error(`no Tab leads to ${what}`);
  }
  async axe(name) {
    const script = 'const done = arguments[0]; axe.run(document).then(r => done(r.violations.map(v => '
      + '`${v.id}: ${v.nodes.length} of ${v.nodes[0].html.slice(0, 120)} ${v.nodes[0].failureSummary}`)), e => done([String(e)]))';
    await this.run(`${axe}; window.axe = axe;`);
    const violations = await this.call('POST', '/execute/async', { script, args: [] });
    check(violations.length === 0, `${name}: ${violations.join('; ')}`);
  }
  async quiet(name) {
    const errors = (await this.log('browser')).filter(entry => entry.level === 'SEVERE' || entry.level === 'WARNING');
    check(errors.length === 0, `${name}: no error on the console: ${errors.map(entry => entry.message)}`);
    const asked = (await this.log('performance')).map(entry => JSON.parse(entry.message).message)
      .filter(message => message.method === 'Network.requestWillBeSent').map(message => message.params.request.url)
      .filter(url => !/^(file:\/\/.*\.html$|data:)/.test(url));
    check(asked.length === 0, `${name}: nothing is loaded: ${asked}`);
  }
  scheme(value) {
    return this.cdp('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value }] });
  }
}

const [TAB, ENTER, ESCAPE, DOWN, END] = ['\uE004', '\uE007', '\uE00C', '\uE015', '\uE010'];
const found = text => Number(text.split(' ')[0].replaceAll(',', ''));
const text = id => `return document.getElementById('${id}').textContent`;

async function looks(browser, name) {
  await browser.scheme('light');
  await browser.axe(`${name}, light`);
  await browser.picture(`${name}-light`);
  await browser.scheme('dark');
  await browser.axe(`${name}, dark`);
  await browser.picture(`${name}-dark`);
  await browser.scheme('light');
  await browser.cdp('Emulation.setDeviceMetricsOverride', { width: 360, height: 740, deviceScaleFactor: 1, mobile: true });
  const width = await browser.run('return [document.documentElement.scrollWidth, innerWidth]');
  const wide = await browser.run('return [...document.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > 360)'
    + '.map(e => e.tagName + "." + e.className + "#" + e.id).slice(0, 5)');
  check(width[0] <= 360 && width[1] === 360, `${name}: ${width} at a width of 360: ${wide}`);
  await browser.axe(`${name}, phone`);
  await browser.picture(`${name}-phone`);
  await browser.cdp('Emulation.clearDeviceMetricsOverride');
}

async function time(browser, page) {
  await browser.go(page);
  return browser.run("return performance.getEntriesByType('navigation')[0].loadEventEnd / 1000");
}

async function fleet(browser, count) {
  const page = `${folder}/${count}.html`, all = count.toLocaleString('en');
  const seconds = Math.min(await time(browser, page), await time(browser, page), await time(browser, page));
  say(`${all} hosts: loaded in ${seconds.toFixed(2)} s, the best of three`);
  check(seconds < MOST_SECONDS, `${all} hosts are there in ${MOST_SECONDS} s`);
  check(await browser.run(text('count')) === `${all} hosts`, `${all} hosts are found`);

  await browser.keys('/');
  check(await browser.run("return document.activeElement.id") === 'search', '/ goes to the search');
  await browser.keys(...'edge-00003');
  check(await browser.run(text('count')) === `1 of ${all} hosts`, 'a name is found');
  check((await browser.run(text('rows'))).startsWith('edge-00003'), 'and shown');
  await browser.keys(ESCAPE);
  check(await browser.run(text('count')) === `${all} hosts`, 'Esc takes the search back');
  await browser.tabTo('the verdict', "it.id === 'verdict'");
  await browser.keys('n');
  const blocked = await browser.run(text('count'));
  check(await browser.run("return document.getElementById('verdict').value") === 'x', 'a verdict is chosen by its first letter');
  const verdicts = 'return [...new Set([...document.querySelectorAll("#rows td:nth-child(2)")].map(e => e.lastChild.data))]';
  check(String(await browser.run(verdicts)) === 'not ready', 'only such hosts are shown');
  await browser.tabTo('the check', "it.id === 'check'");
  await browser.keys(DOWN);
  const both = await browser.run(text('count'));
  check(found(both) <= found(blocked) && await browser.run("return document.getElementById('check').value") !== '', `two filters: ${both}`);
  await browser.tabTo('Clear', "it.id === 'clear'");
  await browser.keys(ENTER);
  check(await browser.run(text('count')) === `${all} hosts`, 'all filters are cleared');

  await browser.tabTo('a check of the picture', "it.closest('#map')");
  await browser.keys(ENTER);
  const pressed = await browser.run("return [document.activeElement.getAttribute('aria-pressed'), "
    + "document.getElementById('check').selectedOptions[0].textContent, document.activeElement.textContent]");
  check(pressed[0] === 'true' && pressed[1] === pressed[2], `a check of the picture is a filter: ${pressed}`);
  await browser.picture(`${count}-filtered`);
  await browser.keys(ENTER);

  await browser.tabTo('the order by name', "it.closest('#hosts') && it.value === 'name'");
  await browser.keys(ENTER);
  const sorted = "return [document.activeElement.closest('th').getAttribute('aria-sort'), "
    + "...[...document.querySelectorAll('#rows .name')].map(e => e.textContent)]";
  const [up, ...names] = await browser.run(sorted);
  await browser.keys(ENTER);
  const [down, ...back] = await browser.run(sorted);
  check(up === 'ascending' && down === 'descending' && names[0] < back[0], `sorted by name: ${names[0]}, ${back[0]}`);
  await browser.tabTo('a host', "it.closest('#rows')");
  await browser.keys(ENTER);
  const expanded = "return [document.activeElement.getAttribute('aria-expanded'), document.querySelectorAll('tr.more').length]";
  check(String(await browser.run(expanded)) === 'true,1', 'Enter shows more of a host');
  await browser.picture(`${count}-host`);
  await browser.keys(ESCAPE);
  check(String(await browser.run(expanded)) === 'false,0', 'Esc shows less');
  await browser.keys(DOWN);
  const line = "return document.activeElement.closest('tr') === document.querySelector('#rows tr:nth-child(2)')";
  check(await browser.run(line), 'the arrow goes to the next host');
  if (count > 50) {
    await browser.tabTo('the next page', "it.id === 'next'");
    await browser.keys(ENTER);
    check((await browser.run(text('page'))).startsWith('Page 2 of '), 'the next page');
    const search = await browser.run("const from = performance.now(), it = document.getElementById('search'); it.value = '7'; "
      + "it.dispatchEvent(new Event('input')); return performance.now() - from");
    say(`${all} hosts: a letter in the search takes ${Math.round(search)} ms`);
    check(search < 1000, 'the search follows what is typed');
  } else {
    check(await browser.run('return document.images.length') === 0, 'a name is text, whatever it says');
    check((await browser.run(text('rows'))).includes('</script><img src=x onerror=alert(1)>'), 'and shown as it is');
    check((await browser.run('return document.body.innerText')).includes('truncated.json'), 'what is no report is listed');
  }
  await browser.quiet(`${all} hosts`);
  await browser.go(page);
  await looks(browser, String(count));
}

async function withoutScript(browser) {
  await browser.cdp('Emulation.setScriptExecutionDisabled', { value: true });
  await browser.go(`${folder}/10.html`);
  const { nodes } = await browser.cdp('Accessibility.getFullAXTree');
  const seen = nodes.filter(node => !node.ignored).map(node => node.name?.value ?? '').join('\n');
  for (const part of ['Checks by hosts', 'Hosts with the same blockers', 'takes JavaScript', 'truncated.json']) {
    check(seen.includes(part), `without JavaScript there is ${part}`);
  }
  check(!seen.includes('Search for hosts'), 'without JavaScript there is no search');
  await browser.picture('10-without-script');
  await browser.cdp('Emulation.setScriptExecutionDisabled', { value: false });
}

let browser;
try {
  await started();
  browser = await Browser.open();
  for (const count of [10, 10000]) await fleet(browser, count);
  for (const page of [`${folder}/comparison.html`, ...others]) {
    const name = page.split('/').pop().replace('.html', '');
    say(`${name}: loaded in ${(await time(browser, page)).toFixed(2)} s`);
    await browser.quiet(name);
    await looks(browser, name);
  }
  await withoutScript(browser);
} catch (error) {
  check(false, error.message);
} finally {
  await browser?.close().catch(() => {});
  driver.kill();
  await gone;
}
if (failures.length) process.exit(1);
