// A small MCP server on loopback: one tool, which tells who the gateway says is calling.
//
// usage: node mcp_server.cjs PORT, with NODE_PATH where @modelcontextprotocol/sdk is

const { createServer } = require("node:http");
const { McpServer } = require("@modelcontextprotocol/sdk/server/mcp.js");
const { StreamableHTTPServerTransport } = require("@modelcontextprotocol/sdk/server/streamableHttp.js");

createServer(async (request, response) => {
  // Without sessions, each request has a server of its own.
  const server = new McpServer({ name: "who-am-i", version: "1.0.0" });
  server.registerTool("who_am_i", { description: "Who is calling?" }, ({ requestInfo: { headers } }) => ({
    content: [{ type: "text", text: JSON.stringify({ subject: headers["x-subject"], authorization: headers.authorization ?? null }) }],
  }));
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
  response.on("close", () => server.close());
  await server.connect(transport);
  await transport.handleRequest(request, response);
}).listen(Number(process.argv[2]), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
