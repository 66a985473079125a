# The official SDKs of OpenAI and Anthropic against a fake provider, whose base URL is the argument. A line a check: its name, and `ok` or
# `failed` with the reason.
import sys

import anthropic
import openai

url = sys.argv[1]
TEXT = "Grüße! We are open from ten to six."
CITY = {"city": "Graz"}
QUESTION = [{"role": "user", "content": "When are you open?"}]
WEATHER = [{"role": "user", "content": "weather"}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

gpt = openai.OpenAI(base_url=url + "/v1", api_key="key", max_retries=0)
claude = anthropic.Anthropic(base_url=url, api_key="key", max_retries=0)


def check(name, body):
    try:
        body()
        print(name, "ok", flush=True)
    except Exception as error:  # Whatever it is, it is a failed check.
        print(name, "failed", type(error).__name__, str(error).replace("\n", " ")[:300], flush=True)


def equal(has, wants):
    if has != wants:
        raise AssertionError(f"{has!r} instead of {wants!r}")


def strict(thing):
    """What an SDK takes without a word may still lack what its types promise."""
    type(thing).model_validate(thing.to_dict(mode="json"))
    return thing


def arguments(text):
    import json

    return json.loads(text)


# OpenAI, Chat Completions.
def chat(**more):
    return gpt.chat.completions.create(model="gpt-4.1-mini", max_tokens=100, **more)


CHAT_TOOLS = [
    {"type": "function", "function": {"name": name, "description": "Tells.", "parameters": SCHEMA}}
    for name in ("weather", "time")
]


def chat_plain():
    answer = strict(chat(messages=QUESTION))
    equal(answer.choices[0].message.content, TEXT)
    equal(answer.choices[0].finish_reason, "stop")
    equal((answer.usage.prompt_tokens, answer.usage.completion_tokens), (10, 5))


def chat_streamed():
    text, usage = "", None
    for chunk in chat(messages=QUESTION, stream=True, stream_options={"include_usage": True}):
        strict(chunk)
        usage = chunk.usage or usage
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    equal(text, TEXT)
    equal(usage.total_tokens, 15)


def chat_tools():
    calls = strict(chat(messages=WEATHER, tools=CHAT_TOOLS)).choices[0].message.tool_calls
    equal([call.function.name for call in calls], ["weather", "time"])
    equal(arguments(calls[0].function.arguments), CITY)
    # What was called and what came of it is taken back.
    messages = WEATHER + [
        {"role": "assistant", "tool_calls": [call.to_dict() for call in calls]},
        {"role": "tool", "tool_call_id": calls[0].id, "content": "sun"},
        {"role": "tool", "tool_call_id": calls[1].id, "content": "noon"},
    ] + QUESTION
    equal(chat(messages=messages, tools=CHAT_TOOLS).choices[0].message.content, TEXT)


def chat_tools_streamed():
    with gpt.chat.completions.stream(model="gpt-4.1-mini", messages=WEATHER, tools=CHAT_TOOLS) as stream:
        for event in stream:
            if event.type == "chunk":
                strict(event.chunk)
        whole = stream.get_final_completion()
    calls = whole.choices[0].message.tool_calls
    equal([call.function.name for call in calls], ["weather", "time"])
    equal(arguments(calls[0].function.arguments), CITY)


def chat_oddly_framed():
    chunks = chat(messages=[{"role": "user", "content": "odd"}], stream=True)
    equal("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices), TEXT)


# OpenAI, Responses.
RESPONSE_TOOLS = [
    {"type": "function", "name": name, "description": "Tells.", "parameters": SCHEMA, "strict": False}
    for name in ("weather", "time")
]


def responses_plain():
    answer = strict(gpt.responses.create(model="gpt-4.1-mini", input="When are you open?"))
    equal(answer.output_text, TEXT)
    equal((answer.status, answer.usage.input_tokens, answer.usage.output_tokens), ("completed", 10, 5))


def responses_streamed():
    text, last = "", None
    for event in gpt.responses.create(model="gpt-4.1-mini", input=QUESTION, stream=True):
        strict(event)
        text += event.delta if event.type == "response.output_text.delta" else ""
        last = event
    equal(text, TEXT)
    equal((last.type, last.response.output_text), ("response.completed", TEXT))


def responses_tools():
    answer = strict(gpt.responses.create(model="gpt-4.1-mini", input=WEATHER, tools=RESPONSE_TOOLS))
    calls = [item for item in answer.output if item.type == "function_call"]
    equal([call.name for call in calls], ["weather", "time"])
    equal(arguments(calls[0].arguments), CITY)
    given = [{"type": "function_call_output", "call_id": call.call_id, "output": "sun"} for call in calls]
    messages = WEATHER + [call.to_dict() for call in calls] + given + QUESTION
    equal(gpt.responses.create(model="gpt-4.1-mini", input=messages).output_text, TEXT)


def responses_tools_streamed():
    with gpt.responses.stream(model="gpt-4.1-mini", input=WEATHER, tools=RESPONSE_TOOLS) as stream:
        for event in stream:
            # The SDK's own events have more in them than the wire's; what they are made of was checked above.
            equal(event.type.startswith("response."), True)
        whole = stream.get_final_response()
    calls = [item for item in whole.output if item.type == "function_call"]
    equal([(call.name, arguments(call.arguments)) for call in calls][0], ("weather", CITY))
    equal(len(calls), 2)


def models():
    equal([strict(model).id for model in gpt.models.list()], ["fake", "other"])


def embeddings():
    texts = ["aa", "b"]
    # The SDK asks for base64 where it is told nothing.
    encoded = strict(gpt.embeddings.create(model="m", input=texts))
    plain = strict(gpt.embeddings.create(model="m", input=texts, encoding_format="float", dimensions=8))
    by_index = lambda answer: [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]
    equal(by_index(encoded), by_index(plain))
    equal([sum(vector) for vector in by_index(plain)], [2.0, 1.0])


# Anthropic, Messages.
CLAUDE_TOOLS = [{"name": name, "description": "Tells.", "input_schema": SCHEMA} for name in ("weather", "time")]


def message(**more):
    return dict(model="claude-haiku-4-5", max_tokens=100, **more)


def messages_plain():
    answer = strict(claude.messages.create(**message(messages=QUESTION)))
    equal([block.text for block in answer.content], [TEXT])
    equal((answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens), ("end_turn", 10, 5))


def messages_streamed():
    text = ""
    for event in claude.messages.create(**message(messages=QUESTION, stream=True)):
        strict(event)
        if event.type == "content_block_delta" and event.delta.type == "text_delta":
            text += event.delta.text
    equal(text, TEXT)


def messages_tools():
    answer = strict(claude.messages.create(**message(messages=WEATHER, tools=CLAUDE_TOOLS)))
    calls = [block for block in answer.content if block.type == "tool_use"]
    equal([(call.name, call.input) for call in calls][0], ("weather", CITY))
    equal((len(calls), answer.stop_reason), (2, "tool_use"))
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sun"} for call in calls]
    again = WEATHER + [
        {"role": "assistant", "content": [block.to_dict() for block in answer.content]},
        {"role": "user", "content": results + [{"type": "text", "text": "When are you open?"}]},
    ]
    equal(claude.messages.create(**message(messages=again, tools=CLAUDE_TOOLS)).content[0].text, TEXT)


def messages_tools_streamed():
    with claude.messages.stream(**message(messages=WEATHER, tools=CLAUDE_TOOLS)) as stream:
        whole = stream.get_final_message()
    calls = [block for block in whole.content if block.type == "tool_use"]
    equal([(call.name, call.input) for call in calls][0], ("weather", CITY))
    equal((len(calls), whole.stop_reason, whole.usage.output_tokens), (2, "tool_use", 5))


def messages_oddly_framed():
    odd = [{"role": "user", "content": "odd"}]
    with claude.messages.stream(**message(messages=odd)) as stream:
        equal(stream.get_final_text(), TEXT)


def claude_models():
    equal([strict(model).id for model in claude.models.list()], ["fake", "other"])


# What goes wrong is an exception of its class.
def raises(wanted, status, call):
    try:
        call()
    except wanted as error:
        equal((type(error), error.status_code), (wanted, status))
        return
    raise AssertionError("nothing was raised")


def fails(status):
    return [{"role": "user", "content": f"fail {status}"}]


OPENAI_FAULTS = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    404: openai.NotFoundError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
}
ANTHROPIC_FAULTS = {
    400: anthropic.BadRequestError,
    401: anthropic.AuthenticationError,
    404: anthropic.NotFoundError,
    429: anthropic.RateLimitError,
    500: anthropic.InternalServerError,
    # The SDK has a class of its own for it since 0.46, below that of the other 5xx.
    529: anthropic._exceptions.OverloadedError,
}


def broken_stream(call):
    try:
        for _ in call():
            pass
    except (openai.APIError, anthropic.APIError):
        return
    raise AssertionError("nothing was raised")


MIDWAY = [{"role": "user", "content": "midway"}]


def responses_error():
    """Of this wire it is an event like others, and the SDK raises nothing."""
    events = [strict(event) for event in gpt.responses.create(model="m", input=MIDWAY, stream=True)]
    equal((events[-1].type, events[-1].code), ("error", "server_error"))


for body in (
    chat_plain, chat_streamed, chat_tools, chat_tools_streamed, chat_oddly_framed, responses_plain, responses_streamed,
    responses_tools, responses_tools_streamed, models, embeddings, messages_plain, messages_streamed, messages_tools,
    messages_tools_streamed, messages_oddly_framed, claude_models,
):
    check(body.__name__, body)
for status, wanted in OPENAI_FAULTS.items():
    for stream in (False, True):
        kind = "streamed" if stream else "plain"
        check(f"chat_{status}_{kind}", lambda: raises(wanted, status, lambda: chat(messages=fails(status), stream=stream)))
        check(
            f"responses_{status}_{kind}",
            lambda: raises(
                wanted, status, lambda: gpt.responses.create(model="m", input=fails(status), stream=stream)
            ),
        )
for status, wanted in ANTHROPIC_FAULTS.items():
    for stream in (False, True):
        kind = "streamed" if stream else "plain"
        call = lambda: claude.messages.create(**message(messages=fails(status), stream=stream))
        check(f"messages_{status}_{kind}", lambda: raises(wanted, status, call))
check("chat_error_in_stream", lambda: broken_stream(lambda: chat(messages=MIDWAY, stream=True)))
check("responses_error_in_stream", responses_error)
check(
    "messages_error_in_stream",
    lambda: broken_stream(lambda: claude.messages.create(**message(messages=MIDWAY, stream=True))),
)
