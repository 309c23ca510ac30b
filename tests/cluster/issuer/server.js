// An OpenID Connect issuer that is not ours: npm's oidc-provider over HTTPS, with keys that are new at each start.
// Clients get access tokens in JWT form for whatever resource they name; `?alg=` in its URL says how they are signed.
//
// usage: oidc-provider PORT CERTIFICATE KEY
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { Provider } from 'oidc-provider';

const [port, certificate, key] = process.argv.slice(2);
const issuer = `https://localhost:${port}`;

const signing = (alg, type, options) => ({ ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), alg, use: 'sig' });

const client = (name) => ({
  client_id: name,
  client_secret: `secret-of-${name}`,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
});

const provider = new Provider(issuer, {
  jwks: {
    keys: [
      signing('RS256', 'rsa', { modulusLength: 2048 }),
      signing('PS256', 'rsa', { modulusLength: 2048 }),
      signing('ES256', 'ec', { namedCurve: 'P-256' }),
    ],
  },
  clients: [client('prometheus'), client('stranger')],
  extraTokenClaims: (_context, { clientId }) => ({ groups: [`${clientId}-clients`, 'everybody'] }),
  ttl: { ClientCredentials: 300 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_context, resource) => ({
        audience: new URL(resource).origin,
        scope: '',
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: new URL(resource).searchParams.get('alg') ?? 'RS256' } },
      }),
    },
  },
});

createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, provider.callback())
  .listen(port, '127.0.0.1', () => console.log(`listening as ${issuer}`));
