"""The routes of vLLM that Pilothouse and its users call."""

import argparse
from collections.abc import Sequence
from http import HTTPStatus

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from harness.vllm_sim import VLLM_VERSION, answer
from harness.vllm_sim.chat import Chat
from harness.vllm_sim.completions import Completion
from harness.vllm_sim.engine import Engine
from harness.vllm_sim.errors import ApiError, InjectedError, PlainError, UnknownModelError
from harness.vllm_sim.faults import hit
from harness.vllm_sim.generation import Call
from harness.vllm_sim.prompts import chat_text, check_output_length, encode, encode_all, orders
from harness.vllm_sim.protocol import (
    ChatBody,
    CompletionBody,
    DetokenizeBody,
    GenerationBody,
    TokenizeChat,
    TokenizeText,
)


def json_only(request: Request) -> None:
    """Refuse a body that is not declared to be JSON."""
    if request.headers.get("content-type", "").lower().partition(";")[0] != "application/json":
        raise RequestValidationError(errors=["Unsupported Media Type: Only 'application/json' is allowed"])


class Api:
    """The handlers; each does what its path says."""

    def __init__(self, engine: Engine, args: argparse.Namespace) -> None:
        self._engine = engine
        self._args = args
        self._load = 0

    def add_to(self, app: FastAPI) -> None:
        """Declare all routes."""
        json_body = [Depends(json_only)]
        app.add_api_route("/health", self.health, methods=["GET"])
        app.add_api_route("/ping", self.health, methods=["GET", "POST"])
        app.add_api_route("/version", self.version, methods=["GET"])
        app.add_api_route("/load", self.load, methods=["GET"])
        app.add_api_route("/metrics", self.metrics, methods=["GET"])
        app.add_api_route("/v1/models", self.models, methods=["GET"])
        app.add_api_route("/v1/completions", self.completions, methods=["POST"], dependencies=json_body)
        app.add_api_route("/v1/chat/completions", self.chat, methods=["POST"], dependencies=json_body)
        app.add_api_route("/tokenize", self.tokenize, methods=["POST"], dependencies=json_body)
        app.add_api_route("/detokenize", self.detokenize, methods=["POST"], dependencies=json_body)

    async def health(self) -> Response:
        """200 from the moment the model is loaded to the end of the process."""
        return Response(status_code=503 if self._engine.faults.unhealthy else 200)

    async def version(self) -> JSONResponse:
        """The version that is simulated."""
        return JSONResponse({"version": VLLM_VERSION})

    async def load(self) -> JSONResponse:
        """Requests being generated, if --enable-server-load-tracking is on."""
        return JSONResponse({"server_load": self._load if self._args.enable_server_load_tracking else 0})

    async def metrics(self) -> Response:
        """All metrics, unless a fault hides or spoils them."""
        text = generate_latest(self._engine.metrics.registry).decode()
        if self._engine.faults.metrics == "missing":
            text = "".join(line for line in text.splitlines(keepends=True) if "vllm:" not in line)
        if self._engine.faults.metrics == "nan":
            text = "\n".join(_not_a_number(line) for line in text.split("\n"))
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    async def models(self) -> JSONResponse:
        """One card per served name."""
        return JSONResponse({"object": "list", "data": [self._card(name) for name in self._names()]})

    async def completions(self, body: CompletionBody, request: Request) -> Response:
        """Continue one or more prompts."""
        request_id = answer.request_id("cmpl", request, body)
        self._admit(body, request_id)
        if body.suffix is not None:
            raise PlainError("suffix is only supported for models with FIM completion rendering", "suffix")
        check_output_length(self._engine, body.max_tokens, "max_tokens")
        self._check_logprobs(body.logprobs)
        prompts = encode_all(self._engine, body.prompt or [])
        sampled = body.model_copy(update={"max_tokens": 1}) if body.echo and body.max_tokens == 0 else body
        call = self._engine.generate(orders(self._engine, sampled, prompts, request_id))
        completion = Completion(
            id=request_id,
            created=answer.now(),
            model=self._names()[0],
            fingerprint=self._engine.config.fingerprint,
            body=body,
            prompts=prompts,
            tokenizer=self._engine.tokenizer,
            call=call,
        )
        return await self._respond(completion, body, request, call)

    async def chat(self, body: ChatBody, request: Request) -> Response:
        """Write the next message of a chat."""
        request_id = answer.request_id("chatcmpl", request, body)
        self._admit(body, request_id)
        self._check_tools(body)
        parameter = "max_tokens" if body.max_completion_tokens is None else "max_completion_tokens"
        check_output_length(self._engine, getattr(body, parameter), parameter)
        prompt = encode(
            self._engine,
            chat_text(self._engine, body.messages, add_generation_prompt=body.add_generation_prompt),
        )
        call = self._engine.generate(orders(self._engine, body, [prompt], request_id))
        chat = Chat(
            id=request_id,
            created=answer.now(),
            model=self._names()[0],
            fingerprint=self._engine.config.fingerprint,
            body=body,
            prompt=prompt,
            tokenizer=self._engine.tokenizer,
            call=call,
            role=self._args.response_role,
        )
        return await self._respond(chat, body, request, call)

    async def tokenize(self, body: TokenizeText | TokenizeChat) -> JSONResponse:
        """The tokens of a text or a chat, however long."""
        self._check_model(body.model)
        if isinstance(body, TokenizeChat):
            text = chat_text(self._engine, body.messages, add_generation_prompt=body.add_generation_prompt)
        else:
            text = body.prompt
        tokenizer = self._engine.tokenizer
        tokens = tokenizer.encode(text)
        strings = [tokenizer.decode([token]) for token in tokens] if body.return_token_strs else None
        longest = self._engine.config.max_model_len
        return JSONResponse(
            {"count": len(tokens), "max_model_len": longest, "tokens": tokens, "token_strs": strings}
        )

    async def detokenize(self, body: DetokenizeBody) -> JSONResponse:
        """The text of tokens."""
        self._check_model(body.model)
        if body.tokens and max(body.tokens) >= len(self._engine.tokenizer):
            raise ApiError(f"Token id {max(body.tokens)} is out of vocabulary")
        return JSONResponse({"prompt": self._engine.tokenizer.decode(body.tokens)})

    def _admit(self, body: GenerationBody, request_id: str) -> None:
        """Raise for a model that is not served, an injected error, a full queue."""
        self._check_model(body.model)
        errors = self._engine.faults.errors
        if errors is not None and hit(errors.share, request_id):
            raise InjectedError(errors.status)
        self._engine.check_admission(body.choices)

    def _check_model(self, model: str | None) -> None:
        if model and model not in self._names():
            raise UnknownModelError(model, ", ".join(self._names()))

    def _check_logprobs(self, wanted: int | None) -> None:
        longest = self._args.max_logprobs
        if wanted is not None and wanted > longest:
            message = f"Requested sample logprobs of {wanted}, which is greater than max allowed: {longest}"
            raise ApiError(message, "logprobs", wanted)

    def _check_tools(self, body: ChatBody) -> None:
        choice = body.tool_choice or ("auto" if body.tools else "none")
        if choice == "auto" and not self._args.enable_auto_tool_choice:
            needed = "--enable-auto-tool-choice and --tool-call-parser"
            raise ApiError(f'"auto" tool choice requires {needed} to be set')

    def _names(self) -> Sequence[str]:
        wrong = self._engine.faults.model_name
        return (wrong,) if wrong else self._engine.config.served_names

    def _card(self, name: str) -> answer.Json:
        created = answer.now()
        permission = {
            "id": f"modelperm-{answer.random_id()}",
            "object": "model_permission",
            "created": created,
            "allow_create_engine": False,
            "allow_sampling": True,
            "allow_logprobs": True,
            "allow_search_indices": False,
            "allow_view": True,
            "allow_fine_tuning": False,
            "organization": "*",
            "group": None,
            "is_blocking": False,
        }
        config = self._engine.config
        return {
            "id": name,
            "object": "model",
            "created": created,
            "owned_by": "vllm",
            "root": config.root,
            "parent": None,
            "max_model_len": config.max_model_len,
            "permission": [permission],
        }

    async def _respond(
        self, answering: Completion | Chat, body: GenerationBody, request: Request, call: Call
    ) -> Response:
        self._load += 1
        if body.stream:
            options = body.stream_options
            forced = bool(self._args.enable_force_include_usage)
            include = forced or bool(options and options.include_usage)
            continuous = forced or bool(include and options and options.continuous_usage_stats)
            events = answering.events(include_usage=include, continuous_usage=continuous)
            if interval := self._args.sse_keep_alive_interval:
                events = answer.keep_alive(events, interval)
            return answer.EventStream(events, lambda: self._close(call))
        try:
            return await answer.unless_disconnected(request, self._whole(answering))
        finally:
            self._close(call)

    async def _whole(self, answering: Completion | Chat) -> Response:
        return JSONResponse(await answering.whole(), HTTPStatus.OK)

    def _close(self, call: Call) -> None:
        self._load -= 1
        call.close()


def _not_a_number(line: str) -> str:
    """A sample of vLLM's without its value."""
    return line.rpartition(" ")[0] + " NaN" if line.startswith("vllm:") else line
