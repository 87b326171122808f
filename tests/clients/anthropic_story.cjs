// What Anthropic's Node client does at the gateway, as JSON on stdout: the story judges it.
//
// usage: node anthropic_story.cjs METERED_URL BRIEF_URL TOKEN, with NODE_PATH where the client is

const { Anthropic } = require("@anthropic-ai/sdk");

const [meteredUrl, briefUrl, token] = process.argv.slice(2);
const question = {
  model: "claude-sample",
  max_tokens: 20,
  messages: [{ role: "user", content: "What does a gateway do all day?" }],
};

// It adds /v1 itself.
const client = (url, maxRetries) =>
  new Anthropic({ baseURL: url.replace(/\/v1$/, ""), authToken: token, apiKey: null, maxRetries, timeout: 30_000 });

function told(message) {
  const { input_tokens, cache_creation_input_tokens, cache_read_input_tokens, output_tokens } = message.usage;
  const prompt = input_tokens + cache_creation_input_tokens + cache_read_input_tokens;
  return { text: message.content[0].text, total_tokens: prompt + output_tokens };
}

const plain = async (api) => told(await api.messages.create(question));

async function streamed(api) {
  let text = "";
  const stream = api.messages.stream(question).on("text", (delta) => (text += delta));
  return { ...told(await stream.finalMessage()), text };
}

// Spends the brief budget without retries, until the client throws its own RateLimitError.
async function refused() {
  const api = client(briefUrl, 0);
  for (let attempt = 0; attempt < 10; attempt++) {
    try {
      await plain(api);
    } catch (error) {
      if (!(error instanceof Anthropic.RateLimitError)) throw error;
      return { status: error.status, kind: error.error.error.type, retry_after: error.headers.get("retry-after") };
    }
  }
}

// Right after a refusal: the client waits as it is told and gets through.
async function retried() {
  const start = performance.now();
  const { text } = await plain(client(briefUrl, 5));
  return { text, waited: (performance.now() - start) / 1000 };
}

(async () => {
  const metered = client(meteredUrl, 0);
  const answers = [await plain(metered), await streamed(metered)];
  console.log(JSON.stringify({ answers, refused: await refused(), retried: await retried() }));
})();
