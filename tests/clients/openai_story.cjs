// What OpenAI's Node client does at the gateway, as JSON on stdout: the story judges it.
//
// usage: node openai_story.cjs METERED_URL BRIEF_URL TOKEN, with NODE_PATH where the client is

const { OpenAI, RateLimitError } = require("openai");

const [meteredUrl, briefUrl, token] = process.argv.slice(2);
const messages = [{ role: "user", content: "What does a gateway do all day?" }];
const question = { model: "gpt-4o-mini", messages, max_tokens: 20 };
const request = { model: "gpt-4o-mini", input: messages, max_output_tokens: 20 };

const client = (baseURL, maxRetries) => new OpenAI({ baseURL, apiKey: token, maxRetries, timeout: 30_000 });

async function chat(api) {
  const answer = await api.chat.completions.create(question);
  return { text: answer.choices[0].message.content, total_tokens: answer.usage.total_tokens };
}

async function chatStreamed(api) {
  let text = "";
  // Reading choices[0] of each chunk is what programs do; a chunk of usage alone would break them.
  for await (const chunk of await api.chat.completions.create({ ...question, stream: true })) {
    text += chunk.choices[0].delta.content ?? "";
  }
  return { text };
}

async function response(api) {
  const answer = await api.responses.create(request);
  return { text: answer.output_text, total_tokens: answer.usage.total_tokens };
}

async function responseStreamed(api) {
  let text = "";
  for await (const event of await api.responses.create({ ...request, stream: true })) {
    if (event.type === "response.output_text.delta") text += event.delta;
    if (event.type === "response.completed") return { text, total_tokens: event.response.usage.total_tokens };
  }
}

// Spends the brief budget without retries, until the client throws its own RateLimitError.
async function refused() {
  const api = client(briefUrl, 0);
  for (let attempt = 0; attempt < 10; attempt++) {
    try {
      await chat(api);
    } catch (error) {
      if (!(error instanceof RateLimitError)) throw error;
      return { status: error.status, kind: error.code, retry_after: error.headers.get("retry-after") };
    }
  }
}

// Right after a refusal: the client waits as it is told and gets through.
async function retried() {
  const start = performance.now();
  const { text } = await chat(client(briefUrl, 5));
  return { text, waited: (performance.now() - start) / 1000 };
}

(async () => {
  const metered = client(meteredUrl, 0);
  const answers = [];
  for (const tell of [chat, chatStreamed, response, responseStreamed]) answers.push(await tell(metered));
  console.log(JSON.stringify({ answers, refused: await refused(), retried: await retried() }));
})();
