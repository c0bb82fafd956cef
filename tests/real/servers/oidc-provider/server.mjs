// A real OpenID Provider (npm oidc-provider) with every grant and client-authentication
// method that a token client may meet, for tests on loopback. All state is in memory.
//
//   KEYS_DIR=DIR node server.mjs                  plain HTTP
//   KEYS_DIR=DIR TLS_DIR=DIR node server.mjs      HTTPS; client certificates at a port of its own
//                                                 (mtls_endpoint_aliases, RFC 8705 section 5)
//
// Prints one JSON line {"ready":true,"issuer":...} on stdout when it listens; ends when stdin ends.
// Settings: PORT (0: any), ACCESS_TTL, REFRESH_TTL, CODE_TTL, DEVICE_TTL (seconds), DEVICE_INTERVAL
// (seconds; 0 leaves it out of the answer), DEVICE_PACE (seconds; what is enforced of it), ROTATE=0|1, KEYS_DIR (where client keys are written),
// PAGES=auto|forms (auto: log in and consent at once as login_hint or alice; forms: real pages).
import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import Provider, { errors } from 'oidc-provider';

const env = process.env;
const num = (name, fallback) => Number(env[name] ?? fallback);
const tlsDir = env.TLS_DIR;
const keysDir = env.KEYS_DIR;
const deviceInterval = num('DEVICE_INTERVAL', 1);
const devicePace = num('DEVICE_PACE', deviceInterval);

// Stands in every secret: the tests look for it where no secret may be.
const CANARY = 'ca9a41e5';
const users = { alice: `wonderland-${CANARY}`, bob: `pä ss+w%rd&-${CANARY}` };
const loopback = ['127.0.0.1', 'localhost', '[::1]'].flatMap((host) => [`http://${host}/`, `http://${host}/callback`]);
const CIBA = 'urn:openid:params:grant-type:ciba';
const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';
const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token';

// The port is a part of the issuer, so it is taken first; what comes before the provider is there, nobody sends.
const tls = tlsDir && { key: readFileSync(join(tlsDir, 'server.key')), cert: readFileSync(join(tlsDir, 'server.crt')) };
const listen = async (server, port) => {
  await once(server.listen(port, tls ? 'localhost' : '127.0.0.1'), 'listening');
  return tls ? `https://localhost:${server.address().port}` : `http://127.0.0.1:${server.address().port}`;
};
const server = tls ? https.createServer(tls) : http.createServer();
const issuer = await listen(server, num('PORT', 0));
const withCertificates = tls && https.createServer({
  ...tls, ca: readFileSync(join(tlsDir, 'ca.crt')), requestCert: true, rejectUnauthorized: false,
});
const alias = tls && await listen(withCertificates, 0);

// ---------------------------------------------------------------- keys and clients

mkdirSync(keysDir, { recursive: true, mode: 0o700 });

function clientKey(alg, { privateKey }) {
  const name = alg.toLowerCase();
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' });
  writeFileSync(join(keysDir, `${name}.pem`), pem, { mode: 0o600 });
  writeFileSync(join(keysDir, `${name}.jwk`), JSON.stringify({ ...privateKey.export({ format: 'jwk' }), kid: name }), { mode: 0o600 });
  return { ...createPublicKey(pem).export({ format: 'jwk' }), kid: name, alg, use: 'sig' };
}

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const curve = (namedCurve) => generateKeyPairSync('ec', { namedCurve });
const algorithms = {
  ES256: curve('P-256'), ES384: curve('P-384'), ES512: curve('P-521'), EdDSA: generateKeyPairSync('ed25519'),
  RS256: rsa, RS384: rsa, RS512: rsa, PS256: rsa, PS384: rsa, PS512: rsa,
};

const everything = {
  application_type: 'native',
  redirect_uris: loopback,
  response_types: ['code'],
  grant_types: ['authorization_code', 'refresh_token', 'client_credentials', DEVICE, CIBA, TOKEN_EXCHANGE, 'password'],
  backchannel_token_delivery_mode: 'poll',
};
const confidential = (client_id, method, more = {}) => ({
  ...everything, client_id, token_endpoint_auth_method: method, ...more,
});
const publicGrants = everything.grant_types.filter((g) => g !== 'client_credentials' && g !== CIBA);

const clients = [
  confidential('basic', 'client_secret_basic', { client_secret: `basic-secret-${CANARY}` }),
  confidential('post', 'client_secret_post', { client_secret: `post-secret-${CANARY}` }),
  // both halves need form-encoding inside the Basic header (RFC 6749 section 2.3.1)
  confidential('odd:id/+%41', 'client_secret_basic', { client_secret: `s+cr%t &=:"~%zz-${CANARY}` }),
  confidential('secret-jwt', 'client_secret_jwt', { client_secret: `a-shared-secret-of-64-bytes-and-more-so-that-HS512-can-sign-with-it-${CANARY}` }),
  confidential('key-jwt', 'private_key_jwt', {
    jwks: { keys: Object.entries(algorithms).map(([alg, pair]) => clientKey(alg, pair)) },
  }),
  { ...everything, client_id: 'public', token_endpoint_auth_method: 'none', grant_types: publicGrants },
  { ...everything, client_id: 'par', token_endpoint_auth_method: 'none', grant_types: publicGrants, require_pushed_authorization_requests: true },
  confidential('dpop', 'client_secret_basic', { client_secret: `dpop-secret-${CANARY}`, dpop_bound_access_tokens: true }),
  confidential('dpop-nonce', 'client_secret_basic', { client_secret: `dpop-secret-${CANARY}`, dpop_bound_access_tokens: true }),
  confidential('only-code', 'client_secret_basic', { client_secret: `only-secret-${CANARY}`, grant_types: ['authorization_code'] }),
];
if (tlsDir) {
  const own = new X509Certificate(readFileSync(join(tlsDir, 'client-self.crt')));
  clients.push(
    confidential('mtls', 'tls_client_auth', { tls_client_auth_san_dns: 'tok-client.test', tls_client_certificate_bound_access_tokens: true }),
    confidential('mtls-self', 'self_signed_tls_client_auth', {
      tls_client_certificate_bound_access_tokens: true,
      jwks: { keys: [{ ...own.publicKey.export({ format: 'jwk' }), x5c: [own.raw.toString('base64')], use: 'sig' }] },
    }),
    confidential('basic-bound', 'client_secret_basic', { client_secret: `basic-secret-${CANARY}`, tls_client_certificate_bound_access_tokens: true }),
  );
}

const signing = [['rsa', { modulusLength: 2048 }, 'RS256'], ['ec', { namedCurve: 'P-256' }, 'ES256']]
  .map(([type, options, alg]) => ({ ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), alg, use: 'sig' }));

// ---------------------------------------------------------------- provider

const account = (id) => ({ accountId: id, claims: async () => ({ sub: id, name: id, email: `${id}@example.test` }) });
const apis = {
  'https://api.example/jwt': { scope: 'api:read api:write', accessTokenFormat: 'jwt', accessTokenTTL: num('ACCESS_TTL', 600), jwt: { sign: { alg: 'ES256' } } },
  'https://api.example/opaque': { scope: 'api:read api:write', accessTokenFormat: 'opaque', accessTokenTTL: num('ACCESS_TTL', 600) },
};

// An API that says how to log in to it (RFC 9728).
const api = `${issuer}/mcp`;
apis[api] = { scope: 'api:read api:write', accessTokenFormat: 'opaque', accessTokenTTL: num('ACCESS_TTL', 600) };

const peer = (ctx) => ctx.req.socket.getPeerX509Certificate?.();

const provider = new Provider(issuer, {
  clients,
  jwks: { keys: signing },
  findAccount: async (ctx, id) => (id in users ? account(id) : undefined),
  claims: { openid: ['sub'], profile: ['name'], email: ['email'] },
  scopes: ['openid', 'offline_access', 'profile', 'email', 'read', 'write'],
  cookies: { keys: ['tok-test'] },
  enabledJWA: { clientAuthSigningAlgValues: ['HS256', 'HS384', 'HS512', ...Object.keys(algorithms)] },
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt', 'none',
    ...(tlsDir ? ['tls_client_auth', 'self_signed_tls_client_auth'] : [])],
  ttl: {
    AccessToken: (ctx, token) => token.resourceServer?.accessTokenTTL ?? num('ACCESS_TTL', 600),
    ClientCredentials: (ctx, token) => token.resourceServer?.accessTokenTTL ?? num('ACCESS_TTL', 600),
    RefreshToken: num('REFRESH_TTL', 86400),
    AuthorizationCode: num('CODE_TTL', 60),
    DeviceCode: num('DEVICE_TTL', 600),
    Grant: 86400, Session: 86400, Interaction: 600, IdToken: 600,
  },
  rotateRefreshToken: env.ROTATE !== '0',
  issueRefreshToken: async (ctx, client, source) => client.grantTypeAllowed('refresh_token') && source.scopes.has('offline_access'),
  pkce: { required: (ctx, client) => client.clientAuthMethod === 'none' },
  ...(tls && {
    discovery: {
      mtls_endpoint_aliases: {
        token_endpoint: `${alias}/token`,
        introspection_endpoint: `${alias}/token/introspection`,
        revocation_endpoint: `${alias}/token/revocation`,
        pushed_authorization_request_endpoint: `${alias}/request`,
        device_authorization_endpoint: `${alias}/device/auth`,
        backchannel_authentication_endpoint: `${alias}/backchannel`,
        userinfo_endpoint: `${alias}/me`,
      },
    },
  }),
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  features: {
    devInteractions: { enabled: env.PAGES === 'forms' },
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    ciba: {
      enabled: true,
      deliveryModes: ['poll'],
      processLoginHint: async (ctx, hint) => (hint === 'deny' ? 'bob' : users[hint] && hint),
      validateBindingMessage: async () => {},
      validateRequestContext: async () => {},
      verifyUserCode: async () => {},
      triggerAuthenticationDevice: async (ctx, request) => { setTimeout(answerBackchannel, 1500, request, ctx.oidc.params.login_hint); },
    },
    introspection: { enabled: true },
    revocation: { enabled: true },
    registration: { enabled: true },
    registrationManagement: { enabled: true },
    pushedAuthorizationRequests: { enabled: true },
    dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: (ctx) => ctx.oidc.client?.clientId === 'dpop-nonce' },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: async (ctx, resource) => {
        if (!apis[resource]) throw new errors.InvalidTarget();
        return { audience: resource, ...apis[resource] };
      },
      useGrantedResource: async () => true,
    },
    ...(tlsDir && {
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        tlsClientAuth: true,
        selfSignedTlsClientAuth: true,
        getCertificate: peer,
        certificateAuthorized: (ctx) => ctx.req.socket.authorized,
        certificateSubjectMatches: (ctx, property, expected) => {
          if (property !== 'tls_client_auth_san_dns') throw new Error(`no check for ${property}`);
          return peer(ctx).checkHost(expected, { subject: 'never' }) !== undefined;
        },
      },
    }),
  },
});

// The person at the other device: says yes after a while, or no where the hint is `deny`.
async function answerBackchannel(request, hint) {
  if (hint === 'deny') return provider.backchannelResult(request, new errors.AccessDenied('the user said no'));
  const grant = new provider.Grant({ accountId: request.accountId, clientId: request.clientId });
  grant.addOIDCScope(request.scope);
  return provider.backchannelResult(request, await grant.save());
}

// ---------------------------------------------------------------- grants the library leaves to its users

async function issue(ctx, { accountId, scope, gty, refresh }) {
  const { client } = ctx.oidc;
  const grant = new provider.Grant({ accountId, clientId: client.clientId });
  grant.addOIDCScope(scope);
  const common = { accountId, client, gty, scope, grantId: await grant.save() };
  const access = new provider.AccessToken(common);
  const body = { access_token: await access.save(), token_type: access.tokenType, expires_in: access.expiration, scope };
  if (refresh) body.refresh_token = await new provider.RefreshToken({ ...common, rotations: 0 }).save();
  return body;
}

provider.registerGrantType('password', async (ctx) => {
  const { username, password, scope = 'read' } = ctx.oidc.params;
  if (!username || !password) throw new errors.InvalidRequest('username and password are required');
  if (users[username] !== password) throw new errors.InvalidGrant('invalid resource owner credentials');
  ctx.body = await issue(ctx, { accountId: username, scope, gty: 'password', refresh: scope.split(' ').includes('offline_access') });
}, ['username', 'password', 'scope']);

provider.registerGrantType(TOKEN_EXCHANGE, async (ctx) => {
  const { subject_token: subject, subject_token_type: type, requested_token_type: wanted = ACCESS_TOKEN_TYPE, scope } = ctx.oidc.params;
  if (!subject || !type) throw new errors.InvalidRequest('subject_token and subject_token_type are required');
  if (type !== ACCESS_TOKEN_TYPE || wanted !== ACCESS_TOKEN_TYPE) throw new errors.InvalidRequest('only access tokens are exchanged here');
  const token = await provider.AccessToken.find(subject);
  if (!token) throw new errors.InvalidGrant('subject_token is not active');
  ctx.body = {
    ...await issue(ctx, { accountId: token.accountId, scope: scope ?? token.scope, gty: 'token_exchange' }),
    issued_token_type: ACCESS_TOKEN_TYPE,
  };
}, ['subject_token', 'subject_token_type', 'actor_token', 'actor_token_type', 'requested_token_type', 'resource', 'audience', 'scope'], ['resource', 'audience']);

// ---------------------------------------------------------------- RFC 8628 pacing, which the library lacks

const lastPoll = new Map();
const { find } = provider.DeviceCode;
provider.DeviceCode.find = async function paced(value, options) {
  if (options?.ignoreSessionBinding) return find.call(this, value, options);   // the browser's side
  const now = Date.now();
  const early = now - (lastPoll.get(value) ?? 0) < devicePace * 1000 - 50;
  lastPoll.set(value, now);
  if (early) throw new errors.SlowDown('polled before the interval was over');
  return find.call(this, value, options);
};

// ---------------------------------------------------------------- unattended login, request log

const log = [];

async function interact(ctx) {
  const details = await provider.interactionDetails(ctx.req, ctx.res);
  const { prompt, params, session, grantId } = details;
  const who = params.login_hint ?? 'alice';
  let result;
  if (who === 'deny') {
    result = { error: 'access_denied', error_description: 'the user said no' };
  } else if (prompt.name === 'login') {
    result = { login: { accountId: who } };
  } else {
    const grant = grantId
      ? await provider.Grant.find(grantId)
      : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    const { missingOIDCScope = [], missingOIDCClaims = [], missingResourceScopes = {} } = prompt.details;
    grant.addOIDCScope(missingOIDCScope.join(' '));
    grant.addOIDCClaims(missingOIDCClaims);
    for (const [resource, scopes] of Object.entries(missingResourceScopes)) grant.addResourceScope(resource, scopes.join(' '));
    result = { consent: { grantId: await grant.save() } };
  }
  ctx.respond = false;
  await provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: prompt.name !== 'login' });
}

// The API takes what was issued for it, and nothing else.
async function callApi(ctx) {
  const metadata = `${issuer}/.well-known/oauth-protected-resource/mcp`;
  if (ctx.href.startsWith(metadata)) {
    ctx.body = { resource: api, authorization_servers: [issuer], scopes_supported: ['api:read', 'api:write'] };
    return;
  }
  const [, text] = (ctx.get('authorization') || '').match(/^Bearer (\S+)$/) ?? [];
  const token = text && await provider.AccessToken.find(text);
  const refuse = (status, rest) => {
    ctx.status = status;
    ctx.set('WWW-Authenticate', `Bearer resource_metadata="${metadata}", ${rest}`);
  };
  if (!text) refuse(401, 'scope="api:read"');
  else if (!token || token.aud !== api) refuse(401, 'error="invalid_token"');
  else if (ctx.query.write !== undefined && !token.scope?.split(' ').includes('api:write')) {
    refuse(403, 'error="insufficient_scope", scope="api:write"');
  } else ctx.body = { sub: token.accountId, scope: token.scope };
}

provider.use(async (ctx, next) => {
  if (ctx.path === '/mcp' || ctx.path === '/.well-known/oauth-protected-resource/mcp') return callApi(ctx);
  if (ctx.path === '/_log') { ctx.body = log; return undefined; }
  if (env.PAGES !== 'forms' && ctx.path.startsWith('/interaction/')) return interact(ctx);
  await next();
  if (deviceInterval && (ctx.body?.device_code || ctx.body?.auth_req_id)) {
    ctx.body = { ...ctx.body, interval: deviceInterval };
  }
  if (ctx.method === 'POST') {
    log.push({
      at: Date.now(), host: ctx.host, path: ctx.path, headers: ctx.headers, body: ctx.oidc?.body, status: ctx.status, response: ctx.body,
    });
  }
  return undefined;
});

provider.on('server_error', (ctx, error) => console.error(error));

server.on('request', provider.callback());
withCertificates?.on('request', provider.callback());
console.log(JSON.stringify({ ready: true, issuer, pid: process.pid }));
// Whoever started it holds the other end.
process.stdin.resume().on('end', () => process.exit());
