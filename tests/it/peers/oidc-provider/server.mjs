// Two HTTPS servers in one process: an OpenID provider, and a resource whose tokens are the
// provider's and are verified with the keys that it publishes.
//
// Standard input is one JSON object:
//   certificate, key   PEM, for `localhost`
//   mount              the path below which the provider is, as issuers of realms have one
//   clients            as oidc-provider takes them
// Standard output is one line of JSON with `provider` and `resource`, the two ports; then a line
// for each token that was issued, and one with the reason for each that was refused.

import { createServer } from 'node:https';
import { json } from 'node:stream/consumers';

import * as jose from 'jose';
import { Provider } from 'oidc-provider';

const AUDIENCE = 'urn:example:resource';
const SCOPE = 'read';

const say = (line) => process.stdout.write(`${line}\n`);
const { certificate, key, mount, clients } = await json(process.stdin);

function listen() {
  const server = createServer({ cert: certificate, key });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(server));
  });
}

const [front, resource] = [await listen(), await listen()];
const issuer = `https://localhost:${front.address().port}${mount}`;

const { privateKey } = await jose.generateKeyPair('ES256', { extractable: true });
const assertionAlgorithms = [
  'HS256', 'HS384', 'HS512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512',
  'ES256', 'ES384', 'ES512', 'EdDSA',
];
const provider = new Provider(issuer, {
  clients,
  clientDefaults: {
    grant_types: ['client_credentials'],
    response_types: [],
    id_token_signed_response_alg: 'ES256',
  },
  jwks: { keys: [{ ...await jose.exportJWK(privateKey), alg: 'ES256', use: 'sig' }] },
  scopes: [SCOPE, 'write'],
  clientAuthMethods: [
    'client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt',
  ],
  enabledJWA: { clientAuthSigningAlgValues: assertionAlgorithms },
  ttl: { ClientCredentials: 60 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => AUDIENCE,
      getResourceServerInfo: () => ({
        audience: AUDIENCE,
        scope: `${SCOPE} write`,
        accessTokenTTL: 60,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
});
provider.on('grant.success', (context) => say(`issued to ${context.oidc.client.clientId}`));
// What it tells its client is one sentence for all reasons; the reason is for its operator.
provider.on('grant.error', (_context, error) => {
  const reason = [error.error_detail, error.cause?.message].filter(Boolean).join('; ');
  say(`refused: ${error.message}: ${reason}`);
});
provider.on('server_error', (_context, error) => say(`in trouble: ${error.stack}`));

const answer = provider.callback();
front.on('request', (request, response) => {
  if (!request.url.startsWith(`${mount}/`)) {
    response.writeHead(404).end();
    return;
  }
  // As frameworks do it: the provider learns from the two where it is mounted.
  request.originalUrl = request.url;
  request.url = request.url.slice(mount.length);
  answer(request, response);
});

const published = jose.createRemoteJWKSet(new URL(`${issuer}/jwks`));
resource.on('request', async (request, response) => {
  const [scheme, token] = (request.headers.authorization ?? '').split(' ');
  try {
    if (scheme !== 'Bearer') throw new Error('no bearer token');
    const { payload, protectedHeader } = await jose.jwtVerify(token, published, {
      issuer,
      audience: AUDIENCE,
      typ: 'at+jwt',
    });
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ header: protectedHeader, claims: payload }));
  } catch (error) {
    response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' });
    response.end(String(error));
  }
});

say(JSON.stringify({ provider: front.address().port, resource: resource.address().port }));
