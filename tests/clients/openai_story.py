"""What OpenAI's Python client does at the gateway, as JSON on stdout: the story judges it.

usage: openai_story.py METERED_URL BRIEF_URL TOKEN
"""

import json
import sys
import time

import openai

metered_url, brief_url, token = sys.argv[1:]
messages = [{"role": "user", "content": "What does a gateway do all day?"}]


def client(base_url, retries):
    return openai.OpenAI(base_url=base_url, api_key=token, max_retries=retries, timeout=30)


def chat(api):
    answer = api.chat.completions.create(model="gpt-4o-mini", messages=messages, max_tokens=20)
    return {"text": answer.choices[0].message.content, "total_tokens": answer.usage.total_tokens}


def chat_streamed(api):
    # Reading choices[0] of each chunk is what programs do; a chunk of usage alone would break them.
    stream = api.chat.completions.create(model="gpt-4o-mini", messages=messages, max_tokens=20, stream=True)
    return {"text": "".join(chunk.choices[0].delta.content or "" for chunk in stream)}


def response(api):
    answer = api.responses.create(model="gpt-4o-mini", input=messages, max_output_tokens=20)
    return {"text": answer.output_text, "total_tokens": answer.usage.total_tokens}


def response_streamed(api):
    text = ""
    for event in api.responses.create(model="gpt-4o-mini", input=messages, max_output_tokens=20, stream=True):
        if event.type == "response.output_text.delta":
            text += event.delta
        elif event.type == "response.completed":
            return {"text": text, "total_tokens": event.response.usage.total_tokens}


def refused():
    """Spends the brief budget without retries, until the client raises its own RateLimitError."""
    api = client(brief_url, 0)
    for _ in range(10):
        try:
            chat(api)
        except openai.RateLimitError as error:
            return {"status": error.status_code, "kind": error.code, "retry_after": error.response.headers.get("retry-after")}


def retried():
    """Right after a refusal: the client waits as it is told and gets through."""
    start = time.monotonic()
    answer = chat(client(brief_url, 5))
    return {"text": answer["text"], "waited": time.monotonic() - start}


metered = client(metered_url, 0)
answers = [tell(metered) for tell in (chat, chat_streamed, response, response_streamed)]
print(json.dumps({"answers": answers, "refused": refused(), "retried": retried()}))
