// Better Auth with its MCP plugin (npm better-auth, @better-auth/mcp), all of it in memory: registration without
// management, refresh tokens that rotate, tokens bound to the API, and an API at /mcp that the plugin guards. The login
// and the consent are pages of their users' own: here two forms without a script.
//
//   node server.mjs
//
// Prints one JSON line {"ready":true,"issuer":...} on stdout when it listens; ends when stdin ends.
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { mcp, requireMcpAuth } from '@better-auth/mcp';
import { betterAuth } from 'better-auth';
import { memoryAdapter } from 'better-auth/adapters/memory';
import { getAuthTables } from 'better-auth/db';
import { toNodeHandler } from 'better-auth/node';
import { jwt } from 'better-auth/plugins';

const out = process.stdout.write.bind(process.stdout);
console.log = console.error;
const server = http.createServer((request, response) => handle(request, response));
await once(server.listen(0, '127.0.0.1'), 'listening');
const base = `http://127.0.0.1:${server.address().port}`;

const resource = `${base}/mcp`;
const options = {
  baseURL: base,
  secret: randomBytes(32).toString('hex'),
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  plugins: [
    jwt(),
    mcp({
      loginPage: '/login',
      consentPage: '/consent',
      resource,
      scopes: ['openid', 'offline_access', 'files:read', 'files:write'],
      allowDynamicClientRegistration: true,
      allowUnauthenticatedClientRegistration: true,
      refreshTokenReuseInterval: 0,
    }),
  ],
};
const tables = Object.values(getAuthTables(options)).map(({ modelName }) => [modelName, []]);
const auth = betterAuth({ ...options, database: memoryAdapter(Object.fromEntries(tables)) });
const email = 'alice@example.com';
const password = 'wonderland-ca9a41e5';
await auth.api.signUpEmail({ body: { name: 'alice', email, password } });

const form = (action, query, fields) => `<form method="post" action="${action}">
<input type="hidden" name="oauth_query" value="${query.replaceAll('&', '&amp;').replaceAll('"', '&quot;')}">${fields}
</form>`;
const pages = {
  '/login': (query) => form('/login', query, '<input name="email"><input type="password" name="password"><button>Sign in</button>'),
  '/consent': (query) => form('/consent', query, '<button name="accept" value="true">Allow</button>'),
};
const text = async (request) => Buffer.concat(await request.toArray()).toString();
const post = (path, request, body) => {
  const headers = { 'content-type': 'application/json', origin: base, cookie: request.headers.cookie ?? '' };
  return auth.handler(new Request(`${base}/api/auth${path}`, { method: 'POST', headers, body: JSON.stringify(body) }));
};
const answers = {
  '/login': (request, fields) => post('/sign-in/email', request, { ...fields, email }),
  '/consent': (request, fields) => post('/oauth2/consent', request, { ...fields, accept: fields.accept === 'true' }),
};
const api = toNodeHandler(requireMcpAuth(
  auth,
  async (request, { aud, scope }) => Response.json({ aud, scope }),
  { resource, requiredScopes: ['files:read'] },
));
const library = toNodeHandler(auth);

async function handle(request, response) {
  const { pathname, search } = new URL(request.url, base);
  // The fetch of the scripted browser is no navigation, and says so.
  delete request.headers['sec-fetch-mode'];
  if (pathname === '/mcp') {
    await api(request, response);
  } else if (request.method === 'GET' && pages[pathname]) {
    response.setHeader('content-type', 'text/html').end(pages[pathname](search.slice(1)));
  } else if (request.method === 'POST' && answers[pathname]) {
    const reply = await answers[pathname](request, Object.fromEntries(new URLSearchParams(await text(request))));
    const said = await reply.text();
    const location = reply.headers.get('location') ?? JSON.parse(said).url;
    response.writeHead(302, { location, 'set-cookie': reply.headers.getSetCookie() }).end();
  } else {
    await library(request, response);
  }
}
out(`${JSON.stringify({ ready: true, issuer: base })}\n`);
// Whoever started it holds the other end.
process.stdin.resume().on('end', () => process.exit());
