// A certified OpenID provider on loopback, whose users are one person who always says yes.
//
// usage: node oidc_provider.cjs PORT, with NODE_PATH where oidc-provider is
//
// Access tokens for a resource (RFC 8707), whichever it is, are JWTs for that audience, signed as the last part of its path says, RS256 if
// that is no algorithm. Without a resource they are opaque. `POST /-/rotate?keep=N` makes new keys, which sign from now on, and publishes
// the N generations before them as well.

const { createServer } = require("node:http");
const { generateKeyPair, randomUUID } = require("node:crypto");
const { pathToFileURL } = require("node:url");
const { promisify } = require("node:util");

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const KINDS = { RS256: ["rsa", { modulusLength: 2048 }], ES256: ["ec", { namedCurve: "P-256" }], EdDSA: ["ed25519"], Ed25519: ["ed25519"] };

async function generation() {
  const keys = Object.entries(KINDS).map(async ([alg, [type, options]]) => {
    const { privateKey } = await promisify(generateKeyPair)(type, options);
    return { ...privateKey.export({ format: "jwk" }), alg, use: "sig", kid: `${alg}-${randomUUID()}` };
  });
  return Promise.all(keys);
}

const configuration = (generations) => ({
  jwks: { keys: generations.flat() },
  scopes: ["openid", "chat", "tools"],
  cookies: { keys: ["a cookie of a test"] },
  clients: [
    { client_id: "agent", client_secret: "agents-secret", grant_types: ["client_credentials"], response_types: [], redirect_uris: [] },
    { client_id: "nightly-report", client_secret: "nightly-report-secret", grant_types: ["client_credentials"], response_types: [], redirect_uris: [] },
    { client_id: "gateway", client_secret: "gateways-secret", grant_types: [], response_types: [], redirect_uris: [] },
    {
      client_id: "desk",
      application_type: "native",
      token_endpoint_auth_method: "none",
      grant_types: ["authorization_code"],
      response_types: ["code"],
      redirect_uris: ["http://127.0.0.1/callback"],
    },
  ],
  findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId }) }),
  interactions: { url: (_, { uid }) => `/-/interaction/${uid}` },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => {
        const named = new URL(resource).pathname.split("/").pop();
        const alg = named in KINDS ? named : "RS256";
        return { audience: resource, scope: "chat tools", accessTokenFormat: "jwt", jwt: { sign: { alg } } };
      },
    },
  },
});

// Logs in and consents, as the person would by hand.
async function interact(provider, request, response) {
  const { prompt, params, session } = await provider.interactionDetails(request, response);
  if (prompt.name === "login") {
    return provider.interactionFinished(request, response, { login: { accountId: "alice" } });
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  const scope = params.scope ?? "openid";
  grant.addOIDCScope(scope);
  for (const resource of [params.resource ?? []].flat()) grant.addResourceScope(resource, scope);
  return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
}

(async () => {
  const { Provider } = await import(pathToFileURL(require.resolve("oidc-provider")));
  let generations = [await generation()];
  // RSA keys take their time: the next are made before they are asked for.
  let next = generation();
  const start = () => {
    const provider = new Provider(issuer, configuration(generations));
    provider.on("server_error", (_, error) => console.error(error));
    return { provider, answer: provider.callback() };
  };
  let running = start();

  const server = createServer(async (request, response) => {
    const url = new URL(request.url, issuer);
    try {
      if (url.pathname === "/-/rotate") {
        generations = [await next, ...generations.slice(0, Number(url.searchParams.get("keep")))];
        next = generation();
        running = start();
        response.writeHead(204).end();
      } else if (url.pathname.startsWith("/-/interaction/")) {
        await interact(running.provider, request, response);
      } else {
        running.answer(request, response);
      }
    } catch (error) {
      console.error(error);
      response.writeHead(500).end(String(error));
    }
  });
  server.listen(port, "127.0.0.1");
  process.on("SIGTERM", () => process.exit(0));
})();
