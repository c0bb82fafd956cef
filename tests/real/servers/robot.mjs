#!/usr/bin/env node
// A browser stand-in for tests: opens a URL, keeps cookies, follows redirects, fills in and
// posts the HTML forms it meets, and stops when nothing is left to do. No dependencies.
//
//   robot.mjs [--user alice] [--password PASSWORD] [--code ABCD-EFGH] [--deny] [--stop WORD] [-v] URL
//
// --stop WORD    print the first redirect target that holds WORD and do not fetch it
//                (to read ?code=... by hand); otherwise loopback callbacks are fetched like any page.
// --deny         press the button that says no / cancel / deny / abort where there is one.
// Exit status: 0 when it reached a page without a form to fill, 1 otherwise.
// As a browser for a program under test:  BROWSER=/path/robot.mjs   (NODE_EXTRA_CA_CERTS for a private CA)
import { parseArgs } from 'node:util';

const { values: opt, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    user: { type: 'string', default: process.env.ROBOT_USER ?? 'alice' },
    password: { type: 'string', default: process.env.ROBOT_PASSWORD ?? 'wonderland-ca9a41e5' },
    code: { type: 'string' },
    deny: { type: 'boolean', default: process.env.ROBOT_DENY === '1' },
    stop: { type: 'string' },
    verbose: { type: 'boolean', short: 'v', default: false },
  },
});
if (!positionals[0]) { console.error('robot: no URL'); process.exit(2); }

const jars = new Map();                       // host -> Map(name -> value); paths and expiry ignored
const say = (...words) => opt.verbose && console.error('robot:', ...words);

async function get(url, init = {}) {
  const { host } = new URL(url);
  const jar = jars.get(host) ?? jars.set(host, new Map()).get(host);
  const headers = { accept: 'text/html,*/*', 'accept-language': 'en', 'user-agent': 'Mozilla/5.0 (robot)', ...init.headers };
  if (jar.size) headers.cookie = [...jar].map(([k, v]) => `${k}=${v}`).join('; ');
  const response = await fetch(url, { ...init, headers, redirect: 'manual' });
  for (const line of response.headers.getSetCookie()) {
    const [pair, ...attributes] = line.split(';');
    const name = pair.slice(0, pair.indexOf('=')).trim();
    const gone = attributes.some((a) => /^\s*(max-age=0|expires=.*1970)/i.test(a));
    if (gone) jar.delete(name); else jar.set(name, pair.slice(pair.indexOf('=') + 1));
  }
  say(init.method ?? 'GET', url, response.status, response.headers.get('location') ?? '');
  return response;
}

const entities = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", '#39': "'", '#x27': "'", '#x2F': '/', '#47': '/', '#43': '+', '#x2B': '+', '#61': '=', '#x3D': '=' };
const unescape = (s) => s.replace(/&(#?\w+);/g, (all, name) => entities[name] ?? all);
function attributes(tag) {
  const found = {};
  for (const [, name, , a, b, c] of tag.matchAll(/([^\s"'<>/=]+)(\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+)))?/g)) {
    found[name.toLowerCase()] = unescape(a ?? b ?? c ?? '');
  }
  return found;
}

const NO = /\b(no|deny|cancel|abort|reject|decline|refuse)\b/i;
const YES = /\b(yes|accept|allow|approve|authori[sz]e|continue|confirm|sign.?in|log.?in|submit|primary|ok)\b/i;
const ELSE = /\b(log.?out|sign.?out|switch|register|sign.?up|forgot|reset)\b/i;

function fill(html, base) {
  const forms = [...html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)].map(([, head, body]) => {
    const form = attributes(head);
    const fields = new URLSearchParams();
    const buttons = [];
    for (const [tag, kind, rest] of body.matchAll(/<(input|button|textarea|select)\b([^>]*)>/gi)) {
      const field = attributes(rest);
      const type = (field.type ?? (kind.toLowerCase() === 'button' ? 'submit' : 'text')).toLowerCase();
      const name = field.name ?? '';
      if (type === 'submit' || type === 'image') {
        const text = body.slice(body.indexOf(tag) + tag.length).match(/^[^<]*/)[0];
        buttons.push({ ...field, label: `${field.value ?? ''} ${name} ${field.class ?? ''} ${kind.toLowerCase() === 'button' ? text : ''}` });
      } else if (!name || type === 'reset' || type === 'button' || type === 'file') {
        // nothing to send
      } else if (type === 'checkbox' || type === 'radio') {
        if ('checked' in field || (type === 'checkbox' && !opt.deny && !/remember/i.test(name))) fields.append(name, field.value ?? 'on');
      } else if (type === 'password') fields.append(name, opt.password);
      else if (/user_?code/i.test(name)) fields.append(name, field.value || opt.code || '');
      else if (type !== 'hidden' && /^sub$|user|login|mail|ident/i.test(name)) fields.append(name, field.value || opt.user);
      else fields.append(name, field.value ?? '');
    }
    return { form, fields, buttons, head };
  }).filter(({ form }) => !/search|lang|theme|logout|signout/i.test(`${form.id ?? ''} ${form.action ?? ''} ${form.class ?? ''}`));

  const isNo = ({ form, buttons }) => (buttons.length > 0 && buttons.every((b) => NO.test(b.label))) || NO.test(form.action ?? '')
    || /DELETE/.test(form.method ?? '');
  const chosen = (opt.deny && forms.find(isNo)) || forms.find((f) => !isNo(f)) || forms[0];
  if (!chosen) return undefined;
  const loose = [...html.matchAll(/<button\b([^>]*)>([^<]*)/gi)]     // <button form="id"> outside its form
    .map(([, rest, text]) => ({ ...attributes(rest), text }))
    .filter((b) => b.form && b.form === chosen.form.id)
    .map((b) => ({ ...b, label: `${b.value ?? ''} ${b.name ?? ''} ${b.text}` }));
  const buttons = [...chosen.buttons, ...loose];
  const wanted = buttons.filter((b) => !NO.test(b.label) && !ELSE.test(b.label));
  const press = (opt.deny && buttons.find((b) => NO.test(b.label)))
    || wanted.find((b) => YES.test(b.label)) || wanted[0] || buttons[0];
  const away = opt.deny && !isNo(chosen) && !(press && NO.test(press.label))
    && [...html.matchAll(/<a\b([^>]*)>([\s\S]*?)<\/a>/gi)].find(([, rest, text]) => NO.test(`${attributes(rest).href} ${text}`));
  if (away) return { refused: true, url: new URL(attributes(away[1]).href, base).href, method: 'LINK', fields: new URLSearchParams() };
  if (press?.name) chosen.fields.append(press.name, press.value ?? '');
  return {
    refused: opt.deny && (isNo(chosen) || (press !== undefined && NO.test(press.label))),
    url: new URL(press?.formaction || chosen.form.action || base, base).href,
    method: (chosen.form.method || 'get').toUpperCase(),
    fields: chosen.fields,
  };
}

let url = positionals[0];
let init;
let refused = false;
const seen = new Map();                       // form -> times sent: a page that returns is a failure
for (let step = 0; step < 40; step += 1) {
  if (opt.stop && url.includes(opt.stop)) { console.log(url); process.exit(0); }
  const response = await get(url, init);
  const location = response.headers.get('location');
  if (location && response.status >= 300 && response.status < 400) {
    await response.arrayBuffer();
    const keep = (response.status === 307 || response.status === 308) && init;
    init = keep || undefined;
    url = new URL(location, url).href;
    continue;
  }
  const html = await response.text();
  const next = !refused && /html/i.test(response.headers.get('content-type') ?? '') ? fill(html, url) : undefined;
  if (next) {
    const shape = `${next.method} ${next.url.split('?')[0]} ${[...next.fields.keys()]}`;
    seen.set(shape, (seen.get(shape) ?? 0) + 1);
    if (seen.get(shape) > 2) { console.error(`robot: ${shape} keeps coming back`); process.exit(1); }
  }
  const text = html.replace(/<(style|script|head)[\s\S]*?<\/\1>/gi, ' ').replace(/<[^>]*>/g, ' ').replace(/\s+/g, ' ').trim().slice(0, 300);
  if (!next) {
    console.log(`${response.status} ${url.split('?')[0]} ${text}`);
    process.exit(response.ok ? 0 : 1);
  }
  refused = next.refused;
  say('form', next.method, next.url, [...next.fields.keys()].join(','));
  if (next.method === 'LINK') {
    [url, init] = [next.url, undefined];
  } else if (next.method === 'GET') {
    const target = new URL(next.url);
    target.search = next.fields;
    [url, init] = [target.href, undefined];
  } else {
    [url, init] = [next.url, { method: 'POST', body: next.fields, headers: { origin: new URL(url).origin, referer: url } }];
  }
}
console.error(`robot: gave up after 40 steps at ${url}`);
process.exit(1);
