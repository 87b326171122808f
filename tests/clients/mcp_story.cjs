// What MCP's own client does at a server behind the gateway, of which it knows the address alone, as JSON on stdout: the story judges it.
//
// usage: node mcp_story.cjs URL, with NODE_PATH where @modelcontextprotocol/sdk is

const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { UnauthorizedError } = require("@modelcontextprotocol/sdk/client/auth.js");
const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");

const url = new URL(process.argv[2]);
const callback = "http://127.0.0.1/callback";
const asked = [];

// Every request that the client makes, and how it was answered.
async function watched(input, init) {
  const answer = await fetch(input, init);
  asked.push({ method: init?.method ?? "GET", url: String(input), status: answer.status });
  return answer;
}

// A browser whose person says yes: it follows redirects, with its cookies, until it is sent to the callback.
async function browse(location) {
  const cookies = new Map();
  for (let hops = 0; !String(location).startsWith(callback); hops++) {
    if (hops === 10) throw new Error(`no end of redirects: ${location}`);
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await fetch(location, { redirect: "manual", headers: { cookie } });
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      cookies.set(name, value);
    }
    const next = answer.headers.get("location");
    if (next === null) throw new Error(`${location} answered ${answer.status}: ${await answer.text()}`);
    location = new URL(next, location);
  }
  return new URL(location).searchParams.get("code");
}

// What the client keeps between its steps; it starts with nothing but a name.
const person = {
  redirectUrl: callback,
  clientMetadata: {
    client_name: "a story",
    application_type: "native",
    redirect_uris: [callback],
    grant_types: ["authorization_code"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  },
  clientInformation: () => person.information,
  saveClientInformation: (information) => { person.information = information; },
  tokens: () => person.saved,
  saveTokens: (tokens) => { person.saved = tokens; },
  codeVerifier: () => person.verifier,
  saveCodeVerifier: (verifier) => { person.verifier = verifier; },
  redirectToAuthorization: (location) => { person.location = location; },
};

const connect = async (transport) => {
  const client = new Client({ name: "a story", version: "1.0.0" });
  await client.connect(transport);
  return client;
};
const transport = () => new StreamableHTTPClientTransport(url, { authProvider: person, fetch: watched });

(async () => {
  const first = transport();
  try {
    await connect(first);
    throw new Error("the gateway asked for no token");
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
  }
  await first.finishAuth(await browse(person.location));

  const client = await connect(transport());
  const { tools } = await client.listTools();
  const result = await client.callTool({ name: "who_am_i" });
  await client.close();
  console.log(JSON.stringify({ asked, tools: tools.map(({ name }) => name), caller: JSON.parse(result.content[0].text) }));
})();
