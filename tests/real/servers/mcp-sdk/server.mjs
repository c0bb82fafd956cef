// The example authorization server of the MCP TypeScript SDK (npm @modelcontextprotocol/sdk) as it is, and an MCP server
// that takes its tokens: on two ports, for tests on loopback. It has no refresh tokens; with REFRESH=1 it gets them, by
// the SDK's own token endpoint: each does once, and one that comes twice ends the session.
//
//   [REFRESH=1] node server.mjs
//
// Prints one JSON line {"ready":true,"issuer":...} on stdout when it listens; ends when stdin ends.
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import { DemoInMemoryAuthProvider, setupAuthServer } from '@modelcontextprotocol/sdk/examples/server/demoInMemoryOAuthProvider.js';
import { InvalidGrantError } from '@modelcontextprotocol/sdk/server/auth/errors.js';
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js';
import { getOAuthProtectedResourceMetadataUrl, mcpAuthMetadataRouter } from '@modelcontextprotocol/sdk/server/auth/router.js';
import { createMcpExpressApp } from '@modelcontextprotocol/sdk/server/express.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { z } from 'zod';

const out = process.stdout.write.bind(process.stdout);
console.log = console.error;
const freePort = async () => {
  const server = http.createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address();
  await new Promise((closed) => { server.close(closed); });
  return port;
};
if (process.env.REFRESH) {
  const sessions = new Map(); // refresh token -> its session
  const example = DemoInMemoryAuthProvider.prototype;
  const exchange = example.exchangeAuthorizationCode;
  const issue = (session, reply) => {
    session.last = randomUUID();
    sessions.set(session.last, session);
    return { ...reply, refresh_token: session.last };
  };
  example.exchangeAuthorizationCode = async function exchangeAuthorizationCode(client, code, ...rest) {
    const { params } = this.codes.get(code) ?? {};
    return issue({ client, params }, await exchange.call(this, client, code, ...rest));
  };
  example.exchangeRefreshToken = async function exchangeRefreshToken(client, refreshToken) {
    const session = sessions.get(refreshToken);
    if (!session || session.ended || session.client.client_id !== client.client_id || session.last !== refreshToken) {
      if (session) session.ended = true;
      throw new InvalidGrantError('spent, or unknown');
    }
    const code = randomUUID();
    this.codes.set(code, session);
    return issue(session, await exchange.call(this, client, code));
  };
}
const authServerUrl = new URL(`http://localhost:${await freePort()}`);
const app = createMcpExpressApp();
const server = http.createServer(app);
await once(server.listen(0, '127.0.0.1'), 'listening');
const base = `http://127.0.0.1:${server.address().port}`;
const mcpServerUrl = new URL(`${base}/mcp`);

const oauthMetadata = setupAuthServer({ authServerUrl, mcpServerUrl, strictResource: true });
app.use(mcpAuthMetadataRouter({ oauthMetadata, resourceServerUrl: mcpServerUrl, scopesSupported: ['mcp:tools'] }));
const verifier = {
  verifyAccessToken: async (token) => {
    const reply = await fetch(oauthMetadata.introspection_endpoint, { method: 'POST', body: new URLSearchParams({ token }) });
    if (!reply.ok) throw new Error('not active');
    const said = await reply.json();
    return { token, clientId: said.client_id, scopes: said.scope ? said.scope.split(' ') : [], expiresAt: said.exp, resource: said.aud };
  },
};
const auth = requireBearerAuth({
  verifier, requiredScopes: [], resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(mcpServerUrl),
});
app.all('/mcp', auth, async (req, res) => {
  const mcp = new McpServer({ name: 'demo', version: '1.0.0' });
  mcp.registerTool('add', { inputSchema: { a: z.number(), b: z.number() } }, async ({ a, b }) => ({
    content: [{ type: 'text', text: String(a + b) }],
  }));
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
  await mcp.connect(transport);
  await transport.handleRequest(req, res, req.body);
});
out(`${JSON.stringify({ ready: true, issuer: base })}\n`);
// Whoever started it holds the other end.
process.stdin.resume().on('end', () => process.exit());
