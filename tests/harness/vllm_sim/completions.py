"""/v1/completions: the answers of vllm/entrypoints/openai/completion/serving.py."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from harness.vllm_sim.answer import DONE, Answer, Json, collect, event, full_usage, usage
from harness.vllm_sim.generation import Call
from harness.vllm_sim.output import Piece
from harness.vllm_sim.protocol import CompletionBody
from harness.vllm_sim.tokenizer import Tokenizer


@dataclass(frozen=True)
class Completion:
    """One request to be answered."""

    id: str
    created: int
    model: str
    fingerprint: str | None
    body: CompletionBody
    prompts: Sequence[Sequence[int]]
    tokenizer: Tokenizer
    call: Call

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts."""
        return sum(map(len, self.prompts))

    async def whole(self) -> Json:
        """The answer at once."""
        answers = await collect(self.call, len(self.prompts) * self.body.choices)
        return {
            **self._head(),
            "choices": [self._choice(index, answer) for index, answer in enumerate(answers)],
            "service_tier": None,
            "system_fingerprint": self.fingerprint,
            "usage": full_usage(self.prompt_tokens, answers),
            "kv_transfer_params": None,
            "ec_transfer_params": None,
            "metrics": None,
        }

    async def events(self, *, include_usage: bool, continuous_usage: bool) -> AsyncIterator[str]:
        """The answer as a stream."""
        lengths = [0] * len(self.prompts) * self.body.choices
        begun: set[int] = set()
        async for piece in self.call.pieces():
            lengths[piece.index] += len(piece.token_ids)
            chunk = {**self._head(), "choices": [self._delta(piece, first=piece.index not in begun)]}
            begun.add(piece.index)
            if piece.finish_reason and not include_usage and self.fingerprint:
                chunk["system_fingerprint"] = self.fingerprint
            if continuous_usage:
                chunk["usage"] = usage(len(self._prompt(piece.index)), lengths[piece.index])
            yield event(chunk)
        if include_usage:
            total = {**self._head(), "choices": [], "usage": usage(self.prompt_tokens, sum(lengths))}
            yield event(total | ({"system_fingerprint": self.fingerprint} if self.fingerprint else {}))
        yield DONE

    def _head(self) -> dict[str, object]:
        return {"id": self.id, "object": "text_completion", "created": self.created, "model": self.model}

    def _choice(self, index: int, answer: Answer) -> Json:
        return {
            "index": index,
            "text": self._text(index, answer.text, first=True),
            "logprobs": self._logprobs(answer.token_ids),
            "finish_reason": answer.finish_reason,
            "stop_reason": answer.stop_reason,
            "token_ids": answer.token_ids if self.body.return_token_ids else None,
            "prompt_logprobs": None,
            "prompt_token_ids": self._prompt(index) if self.body.return_token_ids else None,
            "routed_experts": None,
        }

    def _delta(self, piece: Piece, *, first: bool) -> Json:
        return {
            "index": piece.index,
            "text": self._text(piece.index, piece.text, first=first),
            "logprobs": self._logprobs(piece.token_ids),
            "finish_reason": piece.finish_reason,
            "stop_reason": piece.stop_reason,
            "prompt_token_ids": self._prompt(piece.index) if self.body.return_token_ids and first else None,
            "token_ids": piece.token_ids if self.body.return_token_ids else None,
        }

    def _text(self, index: int, text: str, *, first: bool) -> str:
        if not (self.body.echo and first):
            return text
        prompt = self.tokenizer.decode(self._prompt(index))
        return prompt if self.body.max_tokens == 0 else prompt + text

    def _prompt(self, index: int) -> Sequence[int]:
        """What choice number `index` answers."""
        return self.prompts[index // self.body.choices]

    def _logprobs(self, token_ids: Sequence[int]) -> Json | None:
        """The form of log probabilities; the values are none of a model's."""
        if self.body.logprobs is None:
            return None
        tokens = [self.tokenizer.decode([token]) for token in token_ids]
        return {
            "text_offset": [sum(map(len, tokens[:position])) for position in range(len(tokens))],
            "token_logprobs": [-1.0] * len(tokens),
            "tokens": tokens,
            "top_logprobs": [{token: -1.0} for token in tokens],
        }
