// A real token endpoint: npm @jmondi/oauth2-server, a port of the PHP League server that Laravel
// Passport wraps. Token endpoint /api/oauth/token (and /oauth/token), JSON bodies first.
//
//   node server.mjs            prints {"ready":true,...} when it listens; ends when stdin ends
//
// Errors carry "message" beside error and error_description, as the League's do. BODY=json refuses
// form bodies with Laravel's 422 answer for missing fields; BODY=both (default) takes either.
// Settings: PORT (0: any), ACCESS_TTL, REFRESH_TTL. User alice.
import { randomBytes } from 'node:crypto';
import http from 'node:http';
import { AuthorizationServer, DateInterval, OAuthException, OAuthRequest } from '@jmondi/oauth2-server';

const CANARY = 'ca9a41e5';                 // stands in every secret: the tests look for it where no secret may be
const ttl = Number(process.env.ACCESS_TTL ?? 31536000);
const refreshTtl = Number(process.env.REFRESH_TTL ?? 2592000);
const onlyJson = process.env.BODY === 'json';

const scopes = ['read', 'write'].map((name) => ({ name }));
const grants = ['client_credentials', 'refresh_token', 'password', 'authorization_code', 'urn:ietf:params:oauth:grant-type:token-exchange'];
const client = (id, secret) => ({ id, name: id, secret, redirectUris: ['http://127.0.0.1:5555/callback'], allowedGrants: grants, scopes });
const clients = new Map([client('3', `numeric-id-secret-${CANARY}`), client('basic', `basic-secret-${CANARY}`)].map((c) => [c.id, c]));
const alice = { id: 1, name: 'alice' };
const tokens = new Set();
const random = () => randomBytes(24).toString('hex');
const after = (seconds) => new Date(Date.now() + seconds * 1000);

const tokenStore = {
  issueToken: async (owner, granted, user) => ({ accessToken: random(), accessTokenExpiresAt: after(ttl), client: owner, user, scopes: granted }),
  issueRefreshToken: async (token) => Object.assign(token, { refreshToken: random(), refreshTokenExpiresAt: after(refreshTtl) }),
  persist: async (token) => { tokens.add(token); },
  revoke: async (token) => { tokens.delete(token); },
  isRefreshTokenRevoked: async (token) => !tokens.has(token) || Date.now() > token.refreshTokenExpiresAt,
  getByRefreshToken: async (value) => {
    const found = [...tokens].find((t) => t.refreshToken === value);
    if (!found) throw OAuthException.invalidGrant('The refresh token is invalid.');
    return found;
  },
  getByAccessToken: async (value) => [...tokens].find((t) => t.accessToken === value),
};

const server = new AuthorizationServer(
  {
    getByIdentifier: async (id) => {
      const found = clients.get(String(id));
      if (!found) throw OAuthException.invalidClient();
      return found;
    },
    isClientValid: async (grant, owner, secret) => owner.secret === secret && owner.allowedGrants.includes(grant),
  },
  tokenStore,
  {
    getAllByIdentifiers: async (names) => scopes.filter((s) => names.includes(s.name)),
    finalize: async (granted) => granted,
  },
  'a signing secret for tests only, long enough',
  { requiresPKCE: false },
);
const users = {
  getUserByCredentials: async (name, password) =>
    (name === 'alice' && (password === undefined || password === `wonderland-${CANARY}`) ? alice : undefined),
};
async function exchanged({ subjectToken, subjectTokenType, actorToken }) {
  if (subjectTokenType !== 'urn:ietf:params:oauth:token-type:access_token') throw OAuthException.badRequest('only access tokens are exchanged here');
  const { jti } = JSON.parse(Buffer.from(subjectToken.split('.')[1] ?? '', 'base64url').toString() || '{}');
  if (![...tokens].some((token) => token.accessToken === jti)) throw OAuthException.invalidGrant('The subject token is invalid.');
  return actorToken ? { ...alice, id: 2 } : alice;
}
const life = new DateInterval(`${ttl}s`);
server.enableGrantTypes(
  ['client_credentials', life],
  ['refresh_token', life],
  [{ grant: 'password', userRepository: users }, life],
  [{ grant: 'urn:ietf:params:oauth:grant-type:token-exchange', processTokenExchange: exchanged }, life],
);

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  const type = request.headers['content-type'] ?? '';
  if (type.includes('application/json')) { try { return JSON.parse(text); } catch { return {}; } }
  return onlyJson ? {} : Object.fromEntries(new URLSearchParams(text));
}

const listener = http.createServer(async (request, response) => {
  const send = (status, value, headers = {}) => {
    response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store, private', ...headers });
    response.end(JSON.stringify(value));
  };
  const { pathname } = new URL(request.url, 'http://localhost');
  if (request.method !== 'POST' || !/^\/(api\/)?oauth\/token$/.test(pathname)) return send(404, { message: 'Not Found' });
  const fields = await body(request);
  if (onlyJson && !fields.grant_type) {
    return send(422, { message: 'The given data was invalid.', errors: { grant_type: ['The grant type field is required.'] } });
  }
  if (fields.client_id !== undefined) fields.client_id = String(fields.client_id);
  try {
    const answer = await server.respondToAccessTokenRequest(new OAuthRequest({ headers: request.headers, body: fields, query: {} }));
    return send(answer.status, answer.body, answer.headers);
  } catch (error) {
    if (!(error instanceof OAuthException)) { console.error(error); return send(500, { message: 'Server Error' }); }
    if (fields.grant_type === 'refresh_token' && error.errorType === 'invalid_grant') {   // League 8's way, not RFC 6749's
      const message = 'The refresh token is invalid.';
      return send(401, { error: 'invalid_request', error_description: message, hint: 'Token has been revoked', message });
    }
    return send(error.status, { error: error.errorType, error_description: error.error, ...(error.errorDescription && { hint: error.errorDescription }), message: error.error });
  }
});
listener.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  console.log(JSON.stringify({ ready: true, issuer: `http://127.0.0.1:${listener.address().port}`, pid: process.pid }));
});
// Whoever started it holds the other end.
process.stdin.resume().on('end', () => process.exit());
