"""The request bodies that vLLM takes, as far as they change anything here; unknown fields are let through."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.vllm_sim.errors import ApiError

INT64 = 2**63
TokenId = Annotated[int, Field(ge=0)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class StreamOptions(_Body):
    """Whether a stream ends with, or each of its chunks has, the token counts."""

    include_usage: bool | None = False
    continuous_usage_stats: bool | None = False


class GenerationBody(_Body):
    """What completions and chat completions have in common."""

    model: str | None = None
    n: int | None = 1
    max_tokens: int | None = None
    min_tokens: int = 0
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = Field(None, ge=-INT64, lt=INT64)
    stop: str | list[str] | None = []
    stop_token_ids: list[int] | None = []
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    cache_salt: str | None = Field(None, min_length=1, max_length=128)
    request_id: str | None = None
    return_token_ids: bool | None = None

    @property
    def choices(self) -> int:
        """How many answers are wanted to each prompt."""
        return self.n or 1

    @property
    def stops(self) -> list[str]:
        """The stop strings."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @model_validator(mode="before")
    @classmethod
    def check_stream_options(cls, data: Any) -> Any:
        """Refuse stream options without a stream."""
        if isinstance(data, dict) and data.get("stream_options") and not data.get("stream"):
            raise ApiError("Stream options can only be defined when `stream=True`.", "stream_options")
        return data


class CompletionBody(GenerationBody):
    """POST /v1/completions."""

    prompt: list[TokenId] | list[list[TokenId]] | str | list[str] | None = None
    max_tokens: int | None = 16
    n: int = 1
    echo: bool | None = False
    logprobs: int | None = None
    suffix: str | None = None

    @model_validator(mode="before")
    @classmethod
    def check_prompt(cls, data: Any) -> Any:
        """Refuse a missing or empty prompt."""
        if isinstance(data, dict) and data.get("prompt") in (None, ""):
            raise ApiError("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
        if isinstance(data, dict) and data.get("max_tokens", 16) is None:
            return data | {"max_tokens": 16}
        return data


class Message(_Body):
    """One turn of a chat; `content` may be a list of parts, of which the text counts."""

    role: str
    content: str | list[dict[str, Any]] | None = None

    @property
    def text(self) -> str:
        """The text of all parts."""
        if isinstance(self.content, list):
            return "\n".join(str(part.get("text", "")) for part in self.content)
        return self.content or ""


class ChatBody(GenerationBody):
    """POST /v1/chat/completions."""

    messages: list[Message]
    max_completion_tokens: int | None = None
    logprobs: bool | None = False
    add_generation_prompt: bool = True
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def check_messages(cls, data: Any) -> Any:
        """Refuse null messages, in the words of the accident that this is in vLLM."""
        if isinstance(data, dict) and data.get("messages", ()) is None:
            raise ApiError("'NoneType' object is not iterable")
        return data


class TokenizeText(_Body):
    """POST /tokenize with a text."""

    model: str | None = None
    prompt: str
    return_token_strs: bool | None = False


class TokenizeChat(_Body):
    """POST /tokenize with a chat."""

    model: str | None = None
    messages: list[Message]
    add_generation_prompt: bool = True
    return_token_strs: bool | None = False


class DetokenizeBody(_Body):
    """POST /detokenize."""

    model: str | None = None
    tokens: list[Annotated[int, Field(ge=0, lt=INT64)]]
