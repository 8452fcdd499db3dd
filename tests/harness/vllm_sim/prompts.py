"""From a request body to orders for the engine: text becomes tokens, limits are checked, lengths capped."""

from collections.abc import Sequence

from harness.vllm_sim import limits
from harness.vllm_sim.engine import Engine
from harness.vllm_sim.errors import ApiError
from harness.vllm_sim.generation import Order
from harness.vllm_sim.protocol import GenerationBody, Message
from harness.vllm_sim.sampling import Sampling

LONGEST_TOKEN = 32
NO_TEMPLATE = (
    "As of transformers v4.44, default chat template is no longer allowed, so you must provide a chat "
    "template if the tokenizer does not define one."
)
PromptInput = Sequence[int] | Sequence[Sequence[int]] | str | Sequence[str]


def chat_text(engine: Engine, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
    """The prompt that a chat template makes of the messages: ChatML, whatever the model's own would make.

    Raises ApiError if there are no messages, or if the model has no template.
    """
    if not engine.config.chats:
        raise ApiError(NO_TEMPLATE)
    if not messages:
        raise ApiError("Cannot apply chat template to an empty conversation. Provide at least one message.")
    turns = "".join(f"<|im_start|>{message.role}\n{message.text}<|im_end|>\n" for message in messages)
    return turns + "<|im_start|>assistant\n" if add_generation_prompt else turns


def orders(
    engine: Engine, body: GenerationBody, prompts: Sequence[Sequence[int]], request_id: str
) -> list[Order]:
    """One order per prompt and choice, numbered as the choices of the answer are; raises ApiError."""
    ordered: list[Order] = []
    for prompt in prompts:
        for sampling in _samplings(engine, body, len(prompt)):
            index = len(ordered)
            ordered.append(Order(f"{request_id}-{index}", index, prompt, sampling, body.cache_salt))
    return ordered


def encode_all(engine: Engine, prompt: PromptInput) -> list[Sequence[int]]:
    """The prompts of a completion request as tokens; raises ApiError where one is too long or no token."""
    if isinstance(prompt, str):
        return [encode(engine, prompt)]
    if not prompt:
        raise ApiError("You must pass at least one prompt")
    tokens = [token for token in prompt if isinstance(token, int)]
    if tokens:
        return [_checked(engine, tokens)]
    return [
        encode(engine, one) if isinstance(one, str) else _checked(engine, one)
        for one in prompt
        if not isinstance(one, int)
    ]


def encode(engine: Engine, text: str) -> Sequence[int]:
    """The tokens of a prompt; raises ApiError where it is too long."""
    longest = engine.config.max_model_len
    if len(text) > longest * LONGEST_TOKEN:
        raise ApiError(
            f"This model's maximum context length is {longest} tokens. However, your prompt contains "
            f"{len(text)} characters (more than {longest * LONGEST_TOKEN} characters, "
            f"which is the upper bound for {longest} input tokens). "
            "Please reduce the length of the input prompt.",
            "input_text",
            len(text),
        )
    # vLLM stops tokenizing one token past the limit, and so does its message.
    return _short_enough(engine, engine.tokenizer.encode(text)[: longest + 1])


def check_output_length(engine: Engine, wanted: int | None, parameter: str) -> None:
    """Raise ApiError if more tokens are wanted than the whole context holds."""
    longest = engine.config.max_model_len
    if wanted is not None and wanted > longest:
        raise ApiError(
            f"{parameter}={wanted} cannot be greater than max_model_len={longest}. "
            "Please request fewer output tokens.",
            parameter,
            wanted,
        )


def _checked(engine: Engine, tokens: Sequence[int]) -> Sequence[int]:
    if tokens and max(tokens) >= len(engine.tokenizer):
        raise ApiError(f"Token id {max(tokens)} is out of vocabulary")
    return _short_enough(engine, tokens)


def _short_enough(engine: Engine, tokens: Sequence[int]) -> Sequence[int]:
    longest = engine.config.max_model_len
    if len(tokens) <= longest:
        return tokens
    qualifier = "at least " if len(tokens) == longest + 1 else ""
    raise ApiError(
        f"This model's maximum context length is {longest} tokens. However, your prompt contains "
        f"{qualifier}{len(tokens)} input tokens, which exceeds this limit even without any output tokens. "
        "Please reduce the length of the input prompt.",
        "input_tokens",
        len(tokens),
    )


def _samplings(engine: Engine, body: GenerationBody, prompt_length: int) -> list[Sampling]:
    max_tokens = _max_tokens(engine, body, prompt_length)
    limits.check(body, max_tokens)
    return [
        Sampling(
            max_tokens=max_tokens,
            min_tokens=body.min_tokens,
            stop=tuple(body.stops),
            stop_token_ids=frozenset(body.stop_token_ids or ()),
            include_stop=body.include_stop_str_in_output,
            ignore_eos=body.ignore_eos,
            seed=body.seed or 0,
            n=body.choices,
            choice=choice,
        )
        for choice in range(body.choices)
    ]


def _max_tokens(engine: Engine, body: GenerationBody, prompt_length: int) -> int:
    """What is asked for, silently capped by the context and by --override-generation-config."""
    asked = body.max_tokens
    if getattr(body, "max_completion_tokens", None) is not None:
        asked = body.max_completion_tokens  # type: ignore[attr-defined]
    room = engine.config.max_model_len - prompt_length
    return min(limit for limit in (room, asked, engine.config.max_output_tokens) if limit is not None)
