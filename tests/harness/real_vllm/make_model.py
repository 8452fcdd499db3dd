"""Make a tiny Qwen2 model and its tokenizer, for an engine that must run but need not write sense.

`python make_model.py FOLDER`, in the engine's own environment. The tokenizer is a byte-level BPE trained on
sources of Python's library; the weights are random from a fixed seed. vLLM on a CPU wants heads of 64.
"""

import sys
import sysconfig
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

VOCABULARY = 1024
LONGEST_CONTEXT = 16_384
END_OF_TEXT = "<|endoftext|>"
CORPUS = ("ast.py", "argparse.py", "dataclasses.py", "functools.py", "pathlib.py", "typing.py")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def main(folder: Path) -> None:
    """Write the tokenizer and then the weights into the folder."""
    tokenizer = _tokenizer()
    tokenizer.save_pretrained(folder)
    _model(tokenizer.eos_token_id).save_pretrained(folder)


def _tokenizer() -> PreTrainedTokenizerFast:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library = Path(sysconfig.get_path("stdlib"))
    bpe.train([str(library / name) for name in CORPUS], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=END_OF_TEXT, pad_token=END_OF_TEXT, chat_template=CHAT_TEMPLATE
    )


def _model(end_of_text: int) -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=VOCABULARY,
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=LONGEST_CONTEXT,
            bos_token_id=end_of_text,
            eos_token_id=end_of_text,
            tie_word_embeddings=False,
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
