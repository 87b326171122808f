"""What Anthropic's Python client does at the gateway, as JSON on stdout: the story judges it.

usage: anthropic_story.py METERED_URL BRIEF_URL TOKEN
"""

import json
import sys
import time

import anthropic

metered_url, brief_url, token = sys.argv[1:]
question = {
    "model": "claude-sample",
    "max_tokens": 20,
    "messages": [{"role": "user", "content": "What does a gateway do all day?"}],
}


def client(base_url, retries):
    # It adds /v1 itself.
    base_url = base_url.removesuffix("/v1")
    return anthropic.Anthropic(base_url=base_url, auth_token=token, max_retries=retries, timeout=30)


def told(message):
    usage = message.usage
    prompt = usage.input_tokens + usage.cache_creation_input_tokens + usage.cache_read_input_tokens
    return {"text": message.content[0].text, "total_tokens": prompt + usage.output_tokens}


def plain(api):
    return told(api.messages.create(**question))


def streamed(api):
    with api.messages.stream(**question) as stream:
        text = "".join(stream.text_stream)
        return told(stream.get_final_message()) | {"text": text}


def refused():
    """Spends the brief budget without retries, until the client raises its own RateLimitError."""
    api = client(brief_url, 0)
    for _ in range(10):
        try:
            plain(api)
        except anthropic.RateLimitError as error:
            kind = error.body["error"]["type"]
            return {"status": error.status_code, "kind": kind, "retry_after": error.response.headers.get("retry-after")}


def retried():
    """Right after a refusal: the client waits as it is told and gets through."""
    start = time.monotonic()
    answer = plain(client(brief_url, 5))
    return {"text": answer["text"], "waited": time.monotonic() - start}


metered = client(metered_url, 0)
answers = [tell(metered) for tell in (plain, streamed)]
print(json.dumps({"answers": answers, "refused": refused(), "retried": retried()}))
