"""/v1/chat/completions: the answers of vllm/entrypoints/openai/chat_completion/serving.py."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from harness.vllm_sim.answer import DONE, Answer, Json, collect, event, full_usage, usage
from harness.vllm_sim.generation import Call
from harness.vllm_sim.output import Piece
from harness.vllm_sim.protocol import ChatBody
from harness.vllm_sim.tokenizer import Tokenizer


@dataclass(frozen=True)
class Chat:
    """One request to be answered."""

    id: str
    created: int
    model: str
    fingerprint: str | None
    body: ChatBody
    prompt: Sequence[int]
    tokenizer: Tokenizer
    call: Call
    role: str

    async def whole(self) -> Json:
        """The answer at once."""
        answers = await collect(self.call, self.body.choices)
        return {
            **self._head("chat.completion"),
            "choices": [self._choice(index, answer) for index, answer in enumerate(answers)],
            "service_tier": None,
            "system_fingerprint": self.fingerprint,
            "usage": full_usage(len(self.prompt), answers),
            "prompt_logprobs": None,
            "prompt_token_ids": self.prompt if self.body.return_token_ids else None,
            "prompt_text": None,
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "metrics": None,
        }

    async def events(self, *, include_usage: bool, continuous_usage: bool) -> AsyncIterator[str]:
        """The answer as a stream; each choice begins with its role, once there is a first token."""
        lengths = [0] * self.body.choices
        async for piece in self.call.pieces():
            if not any(lengths):
                for index in range(self.body.choices):
                    yield event(self._opening(index, continuous_usage=continuous_usage))
            lengths[piece.index] += len(piece.token_ids)
            chunk = self._chunk([self._delta(piece)])
            if continuous_usage:
                chunk["usage"] = usage(len(self.prompt), lengths[piece.index])
            if piece.finish_reason and not include_usage and self.fingerprint:
                chunk["system_fingerprint"] = self.fingerprint
            yield event(chunk)
        if include_usage:
            total = self._chunk([]) | {"usage": usage(len(self.prompt), sum(lengths))}
            yield event(total | ({"system_fingerprint": self.fingerprint} if self.fingerprint else {}))
        yield DONE

    def _head(self, kind: str) -> dict[str, object]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _chunk(self, choices: Sequence[Json]) -> dict[str, object]:
        return {**self._head("chat.completion.chunk"), "choices": choices}

    def _opening(self, index: int, *, continuous_usage: bool) -> Json:
        delta = {"role": self.role, "content": ""}
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}
        chunk = self._chunk([choice])
        if continuous_usage:
            chunk["usage"] = usage(len(self.prompt), 0)
        prompt = self.prompt if self.body.return_token_ids else None
        return chunk | {"prompt_token_ids": prompt, "prompt_text": None}

    def _delta(self, piece: Piece) -> Json:
        end = {"stop_reason": piece.stop_reason} if piece.finish_reason else {}
        return {
            "index": piece.index,
            "delta": {"content": piece.text},
            "logprobs": self._logprobs(piece.token_ids),
            "finish_reason": piece.finish_reason,
            **end,
            "token_ids": piece.token_ids if self.body.return_token_ids else None,
        }

    def _choice(self, index: int, answer: Answer) -> Json:
        return {
            "index": index,
            "message": {
                "role": self.role,
                "content": answer.text,
                "refusal": None,
                "annotations": None,
                "audio": None,
                "function_call": None,
                "reasoning": None,
            },
            "logprobs": self._logprobs(answer.token_ids),
            "finish_reason": answer.finish_reason,
            "stop_reason": answer.stop_reason,
            "token_ids": answer.token_ids if self.body.return_token_ids else None,
            "routed_experts": None,
        }

    def _logprobs(self, token_ids: Sequence[int]) -> Json | None:
        """The form of log probabilities; the values are none of a model's."""
        if not self.body.logprobs:
            return None
        tokens = [self.tokenizer.decode([token]) for token in token_ids]
        content = [
            {"token": token, "logprob": -1.0, "bytes": list(token.encode()), "top_logprobs": []}
            for token in tokens
        ]
        return {"content": content}
