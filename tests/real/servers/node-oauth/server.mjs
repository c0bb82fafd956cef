// A real token endpoint (@node-oauth/oauth2-server, behind many Express services) on loopback:
// password, client_credentials and refresh_token at /oauth/token.
//
//   node server.mjs            prints {"ready":true,...} when it listens; ends when stdin ends
//
// Settings: PORT (0: any), ACCESS_TTL, REFRESH_TTL, ROTATE=0|1 (0: the answer to a refresh has no refresh token).
// Each answer carries extra members ("tenant", "roles") to be kept or skipped. User alice.
import { randomBytes } from 'node:crypto';
import http from 'node:http';
import OAuth2Server from '@node-oauth/oauth2-server';

const CANARY = 'ca9a41e5';                 // stands in every secret and token: the tests look for it where none may be
const grants = ['password', 'client_credentials', 'refresh_token'];
const clients = {
  basic: { id: 'basic', secret: `basic-secret-${CANARY}`, grants },
  'odd/+%41': { id: 'odd/+%41', secret: `s+cr%t &=:"~%zz-${CANARY}`, grants },
  'only-password': { id: 'only-password', secret: `only-secret-${CANARY}`, grants: ['password'] },
};
const users = { alice: `wonderland-${CANARY}` };
const byAccess = new Map();
const byRefresh = new Map();

const server = new OAuth2Server({
  accessTokenLifetime: Number(process.env.ACCESS_TTL ?? 600),
  refreshTokenLifetime: Number(process.env.REFRESH_TTL ?? 86400),
  alwaysIssueNewRefreshToken: process.env.ROTATE !== '0',
  allowExtendedTokenAttributes: true,
  model: {
    getClient: async (id, secret) => (clients[id] && (secret === null || clients[id].secret === secret) ? clients[id] : false),
    getUser: async (name, password) => (users[name] === password && password ? { name } : false),
    getUserFromClient: async (client) => ({ name: `client ${client.id}` }),
    generateAccessToken: async () => CANARY + randomBytes(24).toString('hex'),
    generateRefreshToken: async () => CANARY + randomBytes(24).toString('hex'),
    saveToken: async (token, client, user) => {
      const saved = { ...token, client, user, tenant: 'wonder', roles: ['reader'] };
      byAccess.set(saved.accessToken, saved);
      if (saved.refreshToken) byRefresh.set(saved.refreshToken, saved);
      return saved;
    },
    getAccessToken: async (value) => byAccess.get(value),
    getRefreshToken: async (value) => byRefresh.get(value),
    revokeToken: async (token) => byRefresh.delete(token.refreshToken),
    validateScope: async (user, client, scope) => (scope ?? ['read']).every((s) => ['read', 'write'].includes(s)) && (scope ?? ['read']),
  },
});

const listener = http.createServer(async (incoming, outgoing) => {
  const chunks = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const url = new URL(incoming.url, 'http://localhost');
  const request = new OAuth2Server.Request({
    method: incoming.method, headers: incoming.headers, query: Object.fromEntries(url.searchParams),
    body: Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString())),
  });
  const response = new OAuth2Server.Response({});
  if (url.pathname === '/me') {
    await server.authenticate(request, response).then((t) => { response.body = { sub: t.user.name }; }).catch(() => {});
  } else if (url.pathname === '/oauth/token') {
    await server.token(request, response).catch((error) => {
      if (response.body.error) return;       // most errors are already in the response
      Object.assign(response, { status: error.code, body: { error: error.name, error_description: error.message } });
    });
  } else response.status = 404;
  outgoing.writeHead(response.status, { ...response.headers, 'content-type': 'application/json' });
  outgoing.end(JSON.stringify(response.body));
}).listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  console.log(JSON.stringify({ ready: true, issuer: `http://127.0.0.1:${listener.address().port}`, pid: process.pid }));
});
// Whoever started it holds the other end.
process.stdin.resume().on('end', () => process.exit());
